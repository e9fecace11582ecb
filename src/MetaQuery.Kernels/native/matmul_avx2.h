// Float32 products for AVX2: six rows by sixteen outputs in twelve registers, with a piece of the weights in the first-level cache
// while all rows of a block pass by it. Sums are carried from piece to piece in memory, so each element stays one chain of fused
// multiply-adds along K, begun at zero: the portable tile's bits.
#pragma once
#include <immintrin.h>

namespace MQ_ISA {
namespace {

constexpr long kPieceSteps = 128;  // 8 KiB of weights: two of eight ways, so that six rows fit beside them at any distance
constexpr long kCopiedRows = 24;   // from here on a contiguous copy of a piece pays

// c [R, 16] at strideC (+)= a [R rows, lda bytes apart, steps] * b [steps, 16] at strideB.
template <int R> void tile_avx2(const char* a, long lda, const float* b, long strideB, long steps, bool begins, float* c, long strideC) {
    __m256 low[R], high[R];
    for (int i = 0; i < R; i++) {
        low[i] = begins ? _mm256_setzero_ps() : _mm256_loadu_ps(c + i * strideC);
        high[i] = begins ? _mm256_setzero_ps() : _mm256_loadu_ps(c + i * strideC + 8);
    }
    const float* row[R];
    for (int i = 0; i < R; i++) row[i] = reinterpret_cast<const float*>(a + i * lda);
    for (long step = 0; step < steps; step++) {
        const __m256 first = _mm256_loadu_ps(b + step * strideB), second = _mm256_loadu_ps(b + step * strideB + 8);
#pragma GCC unroll 6
        for (int i = 0; i < R; i++) {
            const __m256 value = _mm256_broadcast_ss(row[i] + step);
            low[i] = _mm256_fmadd_ps(first, value, low[i]);
            high[i] = _mm256_fmadd_ps(second, value, high[i]);
        }
    }
    for (int i = 0; i < R; i++) {
        _mm256_storeu_ps(c + i * strideC, low[i]);
        _mm256_storeu_ps(c + i * strideC + 8, high[i]);
    }
}

inline void rows_avx2(const char* a, long lda, const float* b, long strideB, long steps, bool begins, long count, float* c, long strideC) {
    long done = 0;
    for (; done + 6 <= count; done += 6) tile_avx2<6>(a + done * lda, lda, b, strideB, steps, begins, c + done * strideC, strideC);
    a += done * lda;
    c += done * strideC;
    switch (count - done) {
        case 5: return tile_avx2<5>(a, lda, b, strideB, steps, begins, c, strideC);
        case 4: return tile_avx2<4>(a, lda, b, strideB, steps, begins, c, strideC);
        case 3: return tile_avx2<3>(a, lda, b, strideB, steps, begins, c, strideC);
        case 2: return tile_avx2<2>(a, lda, b, strideB, steps, begins, c, strideC);
        case 1: return tile_avx2<1>(a, lda, b, strideB, steps, begins, c, strideC);
        default: return;
    }
}

// All of a panel for `count` rows: out [count, kPanel]. Halves: the weights are stored as bfloat16.
template <bool Halves> void panel_avx2(const Rows& from, long start, const void* packed, long count, float* out) {
    alignas(64) float piece[kPieceSteps * kLanes];
    for (long half = 0; half < kPanel; half += kLanes) {
        bool begins = true;
        for (long segment = 0; segment < from.segments; segment++) {
            const char* a = from.a + segment * (from.k * static_cast<long>(sizeof(float)) + from.skip) + start * from.lda;
            for (long step = 0; step < from.k; step += kPieceSteps) {
                const long steps = from.k - step < kPieceSteps ? from.k - step : kPieceSteps, at = (segment * from.k + step) * kPanel + half;
                const float* weights = static_cast<const float*>(packed) + at;
                long stride = kPanel;
                if (Halves) for (long i = 0; i < steps; i++) store(piece + i * kLanes, load(static_cast<const BFloat16*>(packed) + at + i * kPanel));
                else if (count >= kCopiedRows) for (long i = 0; i < steps; i++) store(piece + i * kLanes, load(weights + i * kPanel));
                if (Halves || count >= kCopiedRows) weights = piece, stride = kLanes;
                rows_avx2(a + step * static_cast<long>(sizeof(float)), from.lda, weights, stride, steps, begins, count, out + half, kPanel);
                begins = false;
            }
        }
    }
}

}  // namespace
}  // namespace MQ_ISA
