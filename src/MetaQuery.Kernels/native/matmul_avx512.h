// The inner tile of a matrix product with AVX-512: C[rows, 32] = A[rows, K] * B[K, 32], B packed.
// Float32 and bfloat16 share it: a step along K is four bytes of a row of A (one float, or a pair of bfloat16) against 128 bytes
// of B, and only two instructions differ.
//
// Every element is one chain of fused multiply-adds (or of VDPBF16PS) along K, begun at zero, whatever the number of rows in the
// tile: so a row's result depends neither on the other rows nor on its place among them. Images rely on that bit for bit.
#pragma once

// Half a panel: the last sixteen outputs of a layer whose number leaves them.
#define MQ_HALF_ROW(acc0, acc1, address, tmp, BCAST, FMA) \
  BCAST " " address ", %%zmm" tmp "\n\t" \
  FMA " %%zmm0, %%zmm" tmp ", %%zmm" acc0 "\n\t"

#define MQ_ROW(acc0, acc1, address, tmp, BCAST, FMA) \
  BCAST " " address ", %%zmm" tmp "\n\t" \
  FMA " %%zmm0, %%zmm" tmp ", %%zmm" acc0 "\n\t" \
  FMA " %%zmm1, %%zmm" tmp ", %%zmm" acc1 "\n\t"

#define MQ_FOUR(base, a0, a1, b0, b1, c0, c1, d0, d1, BCAST, FMA, ROW) \
  ROW(a0, a1, "(%[" base "])", "2", BCAST, FMA) \
  ROW(b0, b1, "(%[" base "],%[lda])", "3", BCAST, FMA) \
  ROW(c0, c1, "(%[" base "],%[lda],2)", "4", BCAST, FMA) \
  ROW(d0, d1, "(%[" base "],%[lda3])", "5", BCAST, FMA)

#define MQ_ZERO2(a, b) "vpxord %%zmm" a ", %%zmm" a ", %%zmm" a "\n\tvpxord %%zmm" b ", %%zmm" b ", %%zmm" b "\n\t"
#define MQ_STORE2(offset, a, b) \
  "vmovaps %%zmm" a ", " offset "(%[out])\n\tvmovaps %%zmm" b ", 64+" offset "(%[out])\n\t"

#define MQ_CLOBBERS "memory", "cc", "zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm8", "zmm9", "zmm10", "zmm11", "zmm12", \
  "zmm13", "zmm14", "zmm15", "zmm16", "zmm17", "zmm18", "zmm19", "zmm20", "zmm21", "zmm22", "zmm23", "zmm24", "zmm25", "zmm26", \
  "zmm27", "zmm28", "zmm29", "zmm30", "zmm31"

#define MQ_LOAD_HALF_B "vmovups (%[b]), %%zmm0\n\tprefetcht0 1024(%[b])\n\t"

#define MQ_LOAD_B \
  "vmovups (%[b]), %%zmm0\n\t" \
  "vmovups 64(%[b]), %%zmm1\n\t" \
  "prefetcht0 1024(%[b])\n\t" \
  "prefetcht0 1088(%[b])\n\t"

// steps: along K, in each of the segments; skip: bytes of A from one segment's end to the next one's start (a convolution's taps lie
// in several image rows; B has no gaps); lda: bytes between rows of A; out: [rows, 32] floats, 64-byte aligned.
#define MQ_TILE_KERNELS(NAME, BCAST, FMA, ROW, LOAD_B) \
  static void NAME##12(const void* a, long lda, const void* b, long steps, long segments, long skip, float* out) { \
    const char* a0 = (const char*)a; \
    const char* a4 = a0 + 4 * lda; \
    const char* a8 = a0 + 8 * lda; \
    long left; \
    asm volatile( \
      MQ_ZERO2("8", "9") MQ_ZERO2("10", "11") MQ_ZERO2("12", "13") MQ_ZERO2("14", "15") \
      MQ_ZERO2("16", "17") MQ_ZERO2("18", "19") MQ_ZERO2("20", "21") MQ_ZERO2("22", "23") \
      MQ_ZERO2("24", "25") MQ_ZERO2("26", "27") MQ_ZERO2("28", "29") MQ_ZERO2("30", "31") \
      "3:\n\tmov %[count], %[steps]\n\t" \
      ".p2align 5\n\t1:\n\t" LOAD_B \
      MQ_FOUR("a0", "8", "9", "10", "11", "12", "13", "14", "15", BCAST, FMA, ROW) \
      MQ_FOUR("a4", "16", "17", "18", "19", "20", "21", "22", "23", BCAST, FMA, ROW) \
      MQ_FOUR("a8", "24", "25", "26", "27", "28", "29", "30", "31", BCAST, FMA, ROW) \
      "add $4, %[a0]\n\tadd $4, %[a4]\n\tadd $4, %[a8]\n\tadd $128, %[b]\n\tdec %[steps]\n\tjnz 1b\n\t" \
      "add %[skip], %[a0]\n\tadd %[skip], %[a4]\n\tadd %[skip], %[a8]\n\tdecq %[segments]\n\tjnz 3b\n\t" \
      MQ_STORE2("0", "8", "9") MQ_STORE2("128", "10", "11") MQ_STORE2("256", "12", "13") MQ_STORE2("384", "14", "15") \
      MQ_STORE2("512", "16", "17") MQ_STORE2("640", "18", "19") MQ_STORE2("768", "20", "21") MQ_STORE2("896", "22", "23") \
      MQ_STORE2("1024", "24", "25") MQ_STORE2("1152", "26", "27") MQ_STORE2("1280", "28", "29") MQ_STORE2("1408", "30", "31") \
      : [a0] "+r"(a0), [a4] "+r"(a4), [a8] "+r"(a8), [b] "+r"(b), [steps] "=&r"(left), [segments] "+m"(segments) \
      : [count] "m"(steps), [skip] "m"(skip), [lda] "r"(lda), [lda3] "r"(3 * lda), [out] "r"(out) : MQ_CLOBBERS); \
  } \
  static void NAME##8(const void* a, long lda, const void* b, long steps, long segments, long skip, float* out) { \
    const char* a0 = (const char*)a; \
    const char* a4 = a0 + 4 * lda; \
    long left; \
    asm volatile( \
      MQ_ZERO2("8", "9") MQ_ZERO2("10", "11") MQ_ZERO2("12", "13") MQ_ZERO2("14", "15") \
      MQ_ZERO2("16", "17") MQ_ZERO2("18", "19") MQ_ZERO2("20", "21") MQ_ZERO2("22", "23") \
      "3:\n\tmov %[count], %[steps]\n\t" \
      ".p2align 5\n\t1:\n\t" LOAD_B \
      MQ_FOUR("a0", "8", "9", "10", "11", "12", "13", "14", "15", BCAST, FMA, ROW) \
      MQ_FOUR("a4", "16", "17", "18", "19", "20", "21", "22", "23", BCAST, FMA, ROW) \
      "add $4, %[a0]\n\tadd $4, %[a4]\n\tadd $128, %[b]\n\tdec %[steps]\n\tjnz 1b\n\t" \
      "add %[skip], %[a0]\n\tadd %[skip], %[a4]\n\tdecq %[segments]\n\tjnz 3b\n\t" \
      MQ_STORE2("0", "8", "9") MQ_STORE2("128", "10", "11") MQ_STORE2("256", "12", "13") MQ_STORE2("384", "14", "15") \
      MQ_STORE2("512", "16", "17") MQ_STORE2("640", "18", "19") MQ_STORE2("768", "20", "21") MQ_STORE2("896", "22", "23") \
      : [a0] "+r"(a0), [a4] "+r"(a4), [b] "+r"(b), [steps] "=&r"(left), [segments] "+m"(segments) \
      : [count] "m"(steps), [skip] "m"(skip), [lda] "r"(lda), [lda3] "r"(3 * lda), [out] "r"(out) : MQ_CLOBBERS); \
  } \
  static void NAME##4(const void* a, long lda, const void* b, long steps, long segments, long skip, float* out) { \
    const char* a0 = (const char*)a; \
    long left; \
    asm volatile( \
      MQ_ZERO2("8", "9") MQ_ZERO2("10", "11") MQ_ZERO2("12", "13") MQ_ZERO2("14", "15") \
      "3:\n\tmov %[count], %[steps]\n\t" \
      ".p2align 5\n\t1:\n\t" LOAD_B \
      MQ_FOUR("a0", "8", "9", "10", "11", "12", "13", "14", "15", BCAST, FMA, ROW) \
      "add $4, %[a0]\n\tadd $128, %[b]\n\tdec %[steps]\n\tjnz 1b\n\t" \
      "add %[skip], %[a0]\n\tdecq %[segments]\n\tjnz 3b\n\t" \
      MQ_STORE2("0", "8", "9") MQ_STORE2("128", "10", "11") MQ_STORE2("256", "12", "13") MQ_STORE2("384", "14", "15") \
      : [a0] "+r"(a0), [b] "+r"(b), [steps] "=&r"(left), [segments] "+m"(segments) \
      : [count] "m"(steps), [skip] "m"(skip), [lda] "r"(lda), [lda3] "r"(3 * lda), [out] "r"(out) : MQ_CLOBBERS); \
  } \
  static void NAME##1(const void* a, long, const void* b, long steps, long segments, long skip, float* out) { \
    long left; \
    asm volatile( \
      MQ_ZERO2("8", "9") \
      "3:\n\tmov %[count], %[steps]\n\t" \
      ".p2align 5\n\t1:\n\t" LOAD_B \
      ROW("8", "9", "(%[a])", "2", BCAST, FMA) \
      "add $4, %[a]\n\tadd $128, %[b]\n\tdec %[steps]\n\tjnz 1b\n\t" \
      "add %[skip], %[a]\n\tdecq %[segments]\n\tjnz 3b\n\t" \
      MQ_STORE2("0", "8", "9") \
      : [a] "+r"(a), [b] "+r"(b), [steps] "=&r"(left), [segments] "+m"(segments) : [count] "m"(steps), [skip] "m"(skip), [out] "r"(out) : MQ_CLOBBERS); \
  }
