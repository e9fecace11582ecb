// Products for AVX2: six rows by sixteen outputs in twelve registers, with a piece of the weights in the first-level cache
// while all rows of a block pass by it. Sums are carried from piece to piece in memory, so each element stays one chain of fused
// multiply-adds along K, begun at zero: the portable tile's bits. All is float32 here: what is stored as bfloat16 is widened on the way.
#pragma once
#include <immintrin.h>
#include <type_traits>

namespace MQ_ISA {
namespace {

constexpr long kPieceSteps = 128;  // 8 KiB of weights: two of eight ways, so that six rows fit beside them at any distance
constexpr long kCopiedRows = 24;   // from here on a contiguous copy of a piece pays
constexpr long kWidenedFloats = 64 * 1024;  // of rows widened at a time, half a second-level cache; but rows enough to pay for a piece

// Out of line and unrolled by hand: inlined into a caller of several kinds, the compiler leaves the sums in memory, at half the speed.
// c [R, 16] at strideC (+)= a [R rows, lda bytes apart, steps] * b [steps, 16] at strideB.
template <int R> __attribute__((noinline)) void tile_avx2(const char* a, long lda, const float* b, long strideB, long steps, bool begins, float* c, long strideC) {
    __m256 low[R], high[R];
#pragma GCC unroll 6
    for (int i = 0; i < R; i++) {
        low[i] = begins ? _mm256_setzero_ps() : _mm256_loadu_ps(c + i * strideC);
        high[i] = begins ? _mm256_setzero_ps() : _mm256_loadu_ps(c + i * strideC + 8);
    }
    const float* row[R];
#pragma GCC unroll 6
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
#pragma GCC unroll 6
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

// The weights of `steps` steps, from `step` of a segment on, for sixteen outputs: piece [steps, 16].
template <int Type> void copy_piece(const void* panel, long k, long segment, long step, long steps, long half, float* piece) {
    if constexpr (Type == kBFloat16) {
        const BFloat16* pairs = static_cast<const BFloat16*>(panel) + ((k + 1) / 2 * segment * kPanel + half) * 2;
        for (long i = 0; i < steps; i++) store(piece + i * kLanes, load_of_pairs(pairs + (step + i) / 2 * kPanel * 2, (step + i) % 2 != 0));
    } else {
        using Stored = std::conditional_t<Type == kHalves, BFloat16, float>;
        const Stored* weights = static_cast<const Stored*>(panel) + (segment * k + step) * kPanel + half;
        for (long i = 0; i < steps; i++) store(piece + i * kLanes, load(weights + i * kPanel));
    }
}

// All of a panel for `count` rows of float32: out [count, kPanel]. Type is that of the weights.
template <int Type> void panel_avx2(const Rows& from, long start, const void* packed, long count, float* out) {
    alignas(64) float piece[kPieceSteps * kLanes];
    const bool copies = Type != kFloat32 || count >= kCopiedRows;
    for (long half = 0; half < kPanel; half += kLanes)
        for (long segment = 0; segment < from.segments; segment++) {
            const char* a = from.a + segment * (from.k * static_cast<long>(sizeof(float)) + from.skip) + start * from.lda;
            for (long step = 0; step < from.k; step += kPieceSteps) {
                const long steps = from.k - step < kPieceSteps ? from.k - step : kPieceSteps;
                if (copies) copy_piece<Type>(packed, from.k, segment, step, steps, half, piece);
                const float* weights = copies ? piece : static_cast<const float*>(packed) + (segment * from.k + step) * kPanel + half;
                rows_avx2(a + step * static_cast<long>(sizeof(float)), from.lda, weights, copies ? kLanes : kPanel, steps,
                          segment == 0 && step == 0, count, out + half, kPanel);
            }
        }
}

// The same for rows of bfloat16, which are widened beforehand.
inline void pairs_avx2(const Rows& from, long start, const void* packed, long count, float* out) {
    const long length = from.segments * from.k;
    float* wide = scratch.take(static_cast<size_t>(count * length));
    for (long i = 0; i < count; i++)
        for (long segment = 0; segment < from.segments; segment++) {
            const auto* row = reinterpret_cast<const BFloat16*>(
                from.a + (start + i) * from.lda + segment * (from.k * static_cast<long>(sizeof(BFloat16)) + from.skip));
            float* to = wide + i * length + segment * from.k;
            for (long at = 0; at < from.k; at += kLanes) store_at(to, load_at(row, at, from.k), at, from.k);
        }
    const Rows widened{reinterpret_cast<const char*>(wide), kFloat32, length * static_cast<long>(sizeof(float)), from.k, from.segments, 0};
    panel_avx2<kBFloat16>(widened, 0, packed, count, out);
}

}  // namespace
}  // namespace MQ_ISA
