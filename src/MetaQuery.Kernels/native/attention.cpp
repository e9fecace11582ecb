// Attention of a transformer's sequences over their own tokens and the tokens cached before them, with the rotation of queries
// and keys fused in. Built once per instruction set (MQ_ISA names it); dispatch.cpp picks one when the library is loaded.
#include "kernels.h"
#include "lanes.h"
#include "parallel.h"
#include "scratch.h"

#include <cmath>
#include <cstring>
#ifdef __AVX2__
#include <immintrin.h>
#endif

namespace MQ_ISA {
namespace {

constexpr long kStep = 2 * kLanes;     // a cache's capacity is a multiple of it
constexpr long kMostTogether = 6;      // queries that read a key while it is in a register: their sums fill the registers
constexpr long kMostRows = 48;         // queries that read sixteen positions while these are in the first-level cache
constexpr long kCopyingRows = 12;      // from here on a contiguous copy of the positions pays

// y = x rotated by a position's angles: element i is paired with element i + size / 2 (Hugging Face's order); without angles y = x.
// A gamma normalises the result first: y / max(|y|, 1e-12) * gamma.
void rotate(const float* x, const float* cosine, const float* sine, const float* gamma, float scale, float* y, long size) {
    const long half = size / 2;
    if (cosine == nullptr) std::memcpy(y, x, static_cast<size_t>(size) * sizeof(float));
    for (long i = 0; i < half && cosine != nullptr; i++) {
        const float a = x[i], b = x[i + half];
        y[i] = a * cosine[i] - b * sine[i];
        y[i + half] = b * cosine[i] + a * sine[i];
    }
    if (gamma != nullptr) {
        Lanes squares{};
        for (long i = 0; i < size; i += kLanes) {
            const Lanes v = load_at(y, i, size);
            squares += v * v;
        }
        const float norm = std::sqrt(sum(squares));
        const float inverse = 1.0f / (norm > 1e-12f ? norm : 1e-12f);
        for (long i = 0; i < size; i++) y[i] = y[i] * inverse * gamma[i];
    }
    for (long i = 0; i < size; i++) y[i] *= scale;
}

// sums[n] = the chain of rows[i] * factors[n][i] over count rows of sixteen numbers, `stride` floats apart.
#if defined(__AVX2__) && !defined(__AVX512F__)
template <int N> void chain(const float* rows, long stride, long count, const float* factors, long factorStride, Lanes* sums) {
    __m256 low[N], high[N];  // in halves of eight, which the compiler does not keep in registers by itself
    for (int n = 0; n < N; n++) low[n] = high[n] = _mm256_setzero_ps();
    for (long i = 0; i < count; i++) {
        const __m256 first = _mm256_loadu_ps(rows + i * stride), second = _mm256_loadu_ps(rows + i * stride + 8);
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) {
            const __m256 factor = _mm256_broadcast_ss(factors + n * factorStride + i);
            low[n] = _mm256_fmadd_ps(first, factor, low[n]);
            high[n] = _mm256_fmadd_ps(second, factor, high[n]);
        }
    }
    for (int n = 0; n < N; n++) {
        float whole[kLanes];
        _mm256_storeu_ps(whole, low[n]);
        _mm256_storeu_ps(whole + 8, high[n]);
        sums[n] = load(whole);
    }
}
#else
template <int N> void chain(const float* rows, long stride, long count, const float* factors, long factorStride, Lanes* sums) {
    Lanes total[N] = {};
    for (long i = 0; i < count; i++) {
        const Lanes row = load(rows + i * stride);
#pragma GCC unroll 8
        for (int n = 0; n < N; n++) total[n] += row * factors[n * factorStride + i];
    }
    for (int n = 0; n < N; n++) sums[n] = total[n];
}
#endif

void chains(long many, const float* rows, long stride, long count, const float* factors, long factorStride, Lanes* sums) {
    switch (many) {
        case 1: return chain<1>(rows, stride, count, factors, factorStride, sums);
        case 2: return chain<2>(rows, stride, count, factors, factorStride, sums);
        case 3: return chain<3>(rows, stride, count, factors, factorStride, sums);
        case 4: return chain<4>(rows, stride, count, factors, factorStride, sums);
        case 5: return chain<5>(rows, stride, count, factors, factorStride, sums);
        default: return chain<6>(rows, stride, count, factors, factorStride, sums);
    }
}

// How many of the rows that are left go together.
long next_many(long left) { return left <= kMostTogether ? left : left < 2 * kMostTogether ? (left + 1) / 2 : kMostTogether; }

struct Keys { const float* transposed; long stride; const float* values; long size; };

// Queries of a few tokens that share a key head: q [rows, size], scores [rows, wide]; row r sees the first limit[r] positions, of which
// rows[first..] that go together see the same. put(r, c, v) receives sixteen channels.
struct Queries { const float* q; float* scores; long wide; const long* limit; long rows; };

template <class Put> void attend(const Queries& from, const Keys& keys, float* block, Put put) {
    const long size = keys.size, most = from.limit[from.rows - 1];
    const bool copies = from.rows >= kCopyingRows;
    const auto together = [&](long r) {
        long same = 1;
        while (r + same < from.rows && from.limit[r + same] == from.limit[r]) same++;
        return next_many(same);
    };
    Lanes sums[kMostTogether];
    for (long s = 0; s < most; s += kLanes) {
        const float* rows = keys.transposed + s;
        if (copies)
            for (long d = 0; d < size; d++) store(block + d * kLanes, load(rows + d * keys.stride));
        for (long r = 0, many; r < from.rows; r += many) {
            many = together(r);
            if (from.limit[r] <= s) continue;
            chains(many, copies ? block : rows, copies ? kLanes : keys.stride, size, from.q + r * size, size, sums);
            for (long n = 0; n < many; n++) store(from.scores + (r + n) * from.wide + s, sums[n]);
        }
    }
    float inverse[kMostRows];
    for (long r = 0; r < from.rows; r++) inverse[r] = soften(from.scores + r * from.wide, from.limit[r]);
    for (long c = 0; c < size; c += kLanes) {
        const bool aside = copies || c + kLanes > size;
        if (aside)
            for (long s = 0; s < most; s++) store(block + s * kLanes, load_at(keys.values + s * size, c, size));
        for (long r = 0, many; r < from.rows; r += many) {
            many = together(r);
            chains(many, aside ? block : keys.values + c, aside ? kLanes : size, from.limit[r], from.scores + r * from.wide, from.wide, sums);
            for (long n = 0; n < many; n++) put(r + n, c, sums[n] * inverse[r + n]);
        }
    }
}

}  // namespace

// qkv [tokens, (heads + 2 * groups) * headSize]: queries, keys, values; sequence i is the tokens offsets[i] to offsets[i + 1], at the
// positions after the `cached` ones, which all sequences see. cosines, sines [positions, headSize / 2], or with perToken a row for
// each token of qkv, or null for no rotation. Gammas [heads or groups, headSize] or null. cachedKeys [groups, headSize, capacity], cachedValues [groups, capacity, headSize], capacity a multiple of 32;
// with append, the one sequence there is has its rotated keys and its values added to them. out [tokens, heads * headSize].
void sequence_attention(const float* qkv, const float* cosines, const float* sines, int perToken, const float* queryGamma,
                        const float* keyGamma, float* cachedKeys, float* cachedValues, long capacity, long cached, int append, int causal,
                        const long long* offsets, long sequences, void* out, int outType, long heads, long groups, long headSize,
                        float scale, int threads) {
    const long width = (heads + 2 * groups) * headSize, half = headSize / 2, shared = heads / groups;
    each(sequences * groups, threads, [&](long task) {
        const long sequence = task / groups, group = task % groups;
        const long first = static_cast<long>(offsets[sequence]), count = static_cast<long>(offsets[sequence + 1]) - first, total = cached + count;
        const long wide = (total + kStep - 1) / kStep * kStep, stride = append ? capacity : wide;
        const long headsAtOnce = shared < kMostRows ? shared : kMostRows, tokensAtOnce = kMostRows / headsAtOnce;
        const long blockRows = headSize > wide ? headSize : wide;
        float* memory = scratch.take(static_cast<size_t>(kMostRows * (headSize + wide) + blockRows * kLanes + headSize + (append ? 0 : headSize * wide + total * headSize)));
        float* q = memory;
        float* scores = q + kMostRows * headSize;
        float* block = scores + kMostRows * wide;
        float* rotated = block + blockRows * kLanes;
        float* keys = append ? cachedKeys + group * headSize * capacity : rotated + headSize;
        float* values = append ? cachedValues + group * capacity * headSize : keys + headSize * wide;
        if (!append) {
            for (long d = 0; d < headSize; d++) {
                float* row = keys + d * wide;
                if (cached > 0) std::memcpy(row, cachedKeys + (group * headSize + d) * capacity, static_cast<size_t>(cached) * sizeof(float));
                for (long s = total; s < wide; s++) row[s] = 0.0f;
            }
            if (cached > 0) std::memcpy(values, cachedValues + group * capacity * headSize, static_cast<size_t>(cached * headSize) * sizeof(float));
        }
        const auto angles = [&](const float* table, long t) { return table == nullptr ? nullptr : table + (perToken ? first + t : cached + t) * half; };
        for (long t = 0; t < count; t++) {
            const float* token = qkv + (first + t) * width;
            const long position = cached + t;
            rotate(token + (heads + group) * headSize, angles(cosines, t), angles(sines, t),
                   keyGamma == nullptr ? nullptr : keyGamma + group * headSize, 1.0f, rotated, headSize);
            for (long d = 0; d < headSize; d++) keys[d * stride + position] = rotated[d];
            std::memcpy(values + position * headSize, token + (heads + groups + group) * headSize, static_cast<size_t>(headSize) * sizeof(float));
        }
        const Keys all{keys, stride, values, headSize};
        for (long begin = 0; begin < count; begin += tokensAtOnce)
            for (long head = 0; head < shared; head += headsAtOnce) {
                const long many = shared - head < headsAtOnce ? shared - head : headsAtOnce, end = begin + tokensAtOnce < count ? begin + tokensAtOnce : count;
                long limit[kMostRows], place[kMostRows], rows = 0;
                for (long t = begin; t < end; t++)
                    for (long n = 0; n < many; n++, rows++) {
                        const long own = group * shared + head + n;
                        rotate(qkv + (first + t) * width + own * headSize, angles(cosines, t), angles(sines, t),
                               queryGamma == nullptr ? nullptr : queryGamma + own * headSize, scale, q + rows * headSize, headSize);
                        limit[rows] = causal ? cached + t + 1 : total;
                        place[rows] = ((first + t) * heads + own) * headSize;
                    }
                attend({q, scores, wide, limit, rows}, all, block, [&](long row, long c, Lanes v) {
                    if (outType == kBFloat16) store_at(static_cast<BFloat16*>(out) + place[row], v, c, headSize);
                    else store_at(static_cast<float*>(out) + place[row], v, c, headSize);
                });
            }
    });
}

}  // namespace MQ_ISA
