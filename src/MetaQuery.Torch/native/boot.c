// Settings that must stand before libtorch, OpenBLAS and OpenMP are loaded. This library knows nothing of torch: the loader
// opens it first and calls mq_boot once. A variable that the user has set is never overwritten.
// .NET's Environment.SetEnvironmentVariable does not reach getenv in native code, hence this file.
#include <cpuid.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { AVX2 = 1, AVX512 = 2, AVX512_BF16 = 4, AMX_BF16 = 8, AVX512_VNNI = 16 };

static uint64_t enabled_states(void)
{
    uint32_t a, d;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    return ((uint64_t)d << 32) | a;
}

// Bits above: what the processor has and the operating system saves.
int mq_cpu_features(void)
{
    unsigned a, b, c, d, found = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & (1u << 27))) return 0;
    uint64_t states = enabled_states();
    int ymm = (states & 0x6) == 0x6, zmm = (states & 0xe6) == 0xe6, tiles = (states & 0x60000) == 0x60000, fma = (c >> 12) & 1;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (ymm && fma && (b >> 5 & 1)) found |= AVX2;
    if (zmm && (b >> 16 & 1) && (b >> 17 & 1) && (b >> 30 & 1) && (b >> 31 & 1)) found |= AVX512; // F, DQ, BW, VL
    if ((found & AVX512) && (c >> 11 & 1)) found |= AVX512_VNNI;
    if (tiles && (d >> 22 & 1)) found |= AMX_BF16;
    if ((found & AVX512) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1)) found |= AVX512_BF16;
    return found;
}

// OpenBLAS 0.3.21 chooses its kernels for Intel's processors by model number, and falls back to SSE3 on a model that it does not
// know. AMD's processors it asks for AVX-512 itself: with the variable unset it takes Cooperlake on a Zen 5 (225 GFLOP/s; the AVX2
// kernels, 119, only where the environment names them).
static int is_intel_unknown_to_openblas(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(0, &a, &b, &c, &d) || b != signature_INTEL_ebx || !__get_cpuid(1, &a, &b, &c, &d)) return 0;
    unsigned family = (a >> 8) & 15, model = ((a >> 4) & 15) | ((a >> 12) & 0xf0);
    static const unsigned known[] = {85, 102, 106, 108, 125, 126, 140, 141, 143, 167};
    for (size_t i = 0; family == 6 && i < sizeof known / sizeof *known; i++)
        if (known[i] == model) return 0;
    return 1;
}

// Returns 1 on success. Calling it again changes nothing.
int mq_boot(void)
{
    static int done;
    if (done) return 1;
    done = 1;
    // One thread each: a slot is one operating system thread, and slots run side by side.
    setenv("OMP_NUM_THREADS", "1", 0);
    setenv("OPENBLAS_NUM_THREADS", "1", 0);
    setenv("MKL_NUM_THREADS", "1", 0);
    if (mq_cpu_features() & AVX512) {
        setenv("ATEN_CPU_CAPABILITY", "avx512", 0); // libtorch chooses AVX2 by itself: silu 3.5 x, softmax 1.5 x slower
        if (is_intel_unknown_to_openblas()) setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
    }
    // What libtorch's own blocks do not cover (memory.cpp): scratch of oneDNN and OpenBLAS stays with the process as well.
    // One arena: the heaps of further arenas hold at most 64 MiB and are returned as soon as they are empty.
    if (!getenv("MALLOC_MMAP_THRESHOLD_")) mallopt(M_MMAP_THRESHOLD, 1 << 30);
    if (!getenv("MALLOC_TRIM_THRESHOLD_")) mallopt(M_TRIM_THRESHOLD, 0x7fffffff);
    if (!getenv("MALLOC_TOP_PAD_")) mallopt(M_TOP_PAD, 64 << 20);
    if (!getenv("MALLOC_ARENA_MAX")) mallopt(M_ARENA_MAX, 1);
    return 1;
}

const char *mq_getenv(const char *name) { return getenv(name); }
