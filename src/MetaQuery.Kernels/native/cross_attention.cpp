// Attention of a picture's tokens over a condition's keys and values, which are prepared once per condition.
// Built once per instruction set (MQ_ISA names it); dispatch.cpp picks one when the library is loaded.
#include "kernels.h"
#include "lanes.h"
#include "parallel.h"
#include "scratch.h"

#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace MQ_ISA {
namespace {

// Tokens that read a key or a value while it is in a register: their sums, two chains each, fill the registers.
#ifdef __AVX512F__
constexpr int kMostTokens = 6;
#else
constexpr int kMostTokens = 3;
#endif
constexpr long kChunkTokens = 24;

// sums[n] (+)= rows[i] * factors[n][i] over count rows, `stride` floats apart: even rows in one chain, odd ones in another, which hides
// the latency of a fused multiply-add. The order is the same for any N.
template <int N, bool Whole>
void accumulate(const float* rows, long stride, long valid, long count, const float* factors, long factorStride, Lanes* sums) {
    const auto row = [&](long i) { return Whole ? load(rows + i * stride) : load_part(rows + i * stride, valid); };
    Lanes even[N] = {}, odd[N] = {};
    long i = 0;
    for (; i + 2 <= count; i += 2) {
        const Lanes first = row(i);
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) even[n] += first * factors[n * factorStride + i];
        const Lanes second = row(i + 1);
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) odd[n] += second * factors[n * factorStride + i + 1];
    }
    if (i < count) {
        const Lanes first = row(i);
        for (int n = 0; n < N; n++) even[n] += first * factors[n * factorStride + i];
    }
    for (int n = 0; n < N; n++) sums[n] = even[n] + odd[n];
}

#if defined(__AVX2__) && !defined(__AVX512F__)
// The same chains in halves of eight, which the compiler does not keep in registers by itself.
template <int N>
void accumulate_whole(const float* rows, long stride, long count, const float* factors, long factorStride, Lanes* sums) {
    __m256 even[N][2], odd[N][2];
    for (int n = 0; n < N; n++) even[n][0] = even[n][1] = odd[n][0] = odd[n][1] = _mm256_setzero_ps();
    const auto add = [&](const float* row, long i, __m256 (&to)[N][2]) {
        const __m256 low = _mm256_loadu_ps(row), high = _mm256_loadu_ps(row + 8);
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) {
            const __m256 factor = _mm256_broadcast_ss(factors + n * factorStride + i);
            to[n][0] = _mm256_fmadd_ps(low, factor, to[n][0]);
            to[n][1] = _mm256_fmadd_ps(high, factor, to[n][1]);
        }
    };
    long i = 0;
    for (; i + 2 <= count; i += 2) {
        add(rows + i * stride, i, even);
        add(rows + (i + 1) * stride, i + 1, odd);
    }
    if (i < count) add(rows + i * stride, i, even);
    for (int n = 0; n < N; n++) {
        float whole[kLanes];
        _mm256_storeu_ps(whole, _mm256_add_ps(even[n][0], odd[n][0]));
        _mm256_storeu_ps(whole + 8, _mm256_add_ps(even[n][1], odd[n][1]));
        sums[n] = load(whole);
    }
}
#else
template <int N>
void accumulate_whole(const float* rows, long stride, long count, const float* factors, long factorStride, Lanes* sums) {
    accumulate<N, true>(rows, stride, kLanes, count, factors, factorStride, sums);
}
#endif

template <int N>
void accumulate(const float* rows, long stride, long valid, long count, const float* factors, long factorStride, Lanes* sums) {
    if (valid >= kLanes) accumulate_whole<N>(rows, stride, count, factors, factorStride, sums);
    else accumulate<N, false>(rows, stride, valid, count, factors, factorStride, sums);
}

// One head's keys [headSize, length] and values [length, headSize]; mask [length] or null.
struct Head { const float* key; const float* value; const float* mask; long headSize, length; };

// Scores of N tokens with sixteen positions of the keys, of which `block` holds [headSize, 16].
template <int N> void score(const Head& head, const float* block, long at, const float* q, long wideHead, float* scores, long wideLength) {
    Lanes sums[N];
    accumulate_whole<N>(block, kLanes, head.headSize, q, wideHead, sums);
    for (int n = 0; n < N; n++) {
        if (head.mask != nullptr) sums[n] += load_at(head.mask, at, head.length);
        store(scores + n * wideLength + at, sums[n]);
    }
}

template <int N, class T>
void gather(const Head& head, long at, const float* scores, long wideLength, const float* inverse, T* target, long channels) {
    Lanes sums[N];
    accumulate<N>(head.value + at, head.headSize, head.headSize - at, head.length, scores, wideLength, sums);
    for (int n = 0; n < N; n++) store_at(target + n * channels, sums[n] * inverse[n], at, head.headSize);
}

// query and target of up to kChunkTokens tokens, `channels` apart. Sixteen positions of the keys, or channels of the values, stay in the
// first-level cache while all of them pass by.
template <class T>
void attend(const Head& head, long count, const T* query, const float* queryBias, T* target, long channels, float scale, float* memory) {
    const long wideLength = (head.length + kLanes - 1) / kLanes * kLanes, wideHead = (head.headSize + kLanes - 1) / kLanes * kLanes;
    float* scores = memory;                         // [count, wideLength]
    float* q = scores + kChunkTokens * wideLength;  // [count, wideHead]
    float* block = q + kChunkTokens * wideHead;     // [headSize, 16]
    for (long n = 0; n < count; n++)
        for (long c = 0; c < wideHead; c += kLanes) {
            Lanes v = load_at(query + n * channels, c, head.headSize);
            if (queryBias != nullptr) v += load_at(queryBias, c, head.headSize);
            store(q + n * wideHead + c, v * scale);
        }
    for (long s = 0; s < head.length; s += kLanes) {
        for (long d = 0; d < head.headSize; d++) store(block + d * kLanes, load_at(head.key + d * head.length, s, head.length));
        long n = 0;
        for (; n + kMostTokens <= count; n += kMostTokens) score<kMostTokens>(head, block, s, q + n * wideHead, wideHead, scores + n * wideLength, wideLength);
        for (; n < count; n++) score<1>(head, block, s, q + n * wideHead, wideHead, scores + n * wideLength, wideLength);
    }
    float inverse[kChunkTokens];
    for (long n = 0; n < count; n++) inverse[n] = soften(scores + n * wideLength, head.length);
    for (long c = 0; c < head.headSize; c += kLanes) {
        long n = 0;
        for (; n + kMostTokens <= count; n += kMostTokens)
            gather<kMostTokens>(head, c, scores + n * wideLength, wideLength, inverse + n, target + n * channels, channels);
        for (; n < count; n++) gather<1>(head, c, scores + n * wideLength, wideLength, inverse + n, target + n * channels, channels);
    }
}

template <class T>
void rows_of_type(const T* query, const float* queryBias, const float* keys, const float* values, const long long* context, const float* maskBias,
                  T* out, long rows, long tokens, long heads, long headSize, long length, float scale, int threads) {
    const long channels = heads * headSize;
    each(rows * heads, threads, [&](long task) {
        const long row = task / heads, at = task % heads, source = context == nullptr ? row : static_cast<long>(context[row]);
        const long place = (source * heads + at) * headSize * length;
        const Head head{keys + place, values + place, maskBias == nullptr ? nullptr : maskBias + source * length, headSize, length};
        const float* bias = queryBias == nullptr ? nullptr : queryBias + at * headSize;
        float* memory = scratch.take(static_cast<size_t>(kChunkTokens * (length + headSize + 2 * kLanes) + headSize * kLanes));
        for (long t = 0; t < tokens; t += kChunkTokens) {
            const long first = (row * tokens + t) * channels + at * headSize;
            attend(head, tokens - t < kChunkTokens ? tokens - t : kChunkTokens, query + first, bias, out + first, channels, scale, memory);
        }
    });
}

}  // namespace

// softmax(scale * q k^T + maskBias) v: keys [contexts, heads, headSize, length], values [contexts, heads, length, headSize]; row r reads
// context[r] (null: its own). query [rows, tokens, heads * headSize]; maskBias [contexts, length] or null.
void cross_attention(const void* query, int type, const float* queryBias, const float* keys, const float* values,
                     const long long* context, const float* maskBias, void* out, long rows, long tokens, long heads,
                     long headSize, long length, float scale, int threads) {
    if (type == kBFloat16)
        rows_of_type(static_cast<const BFloat16*>(query), queryBias, keys, values, context, maskBias, static_cast<BFloat16*>(out), rows, tokens,
                     heads, headSize, length, scale, threads);
    else
        rows_of_type(static_cast<const float*>(query), queryBias, keys, values, context, maskBias, static_cast<float*>(out), rows, tokens, heads,
                     headSize, length, scale, threads);
}

}  // namespace MQ_ISA
