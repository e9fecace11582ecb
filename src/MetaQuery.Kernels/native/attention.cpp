// Attention of a transformer's sequences over their own tokens and the tokens cached before them, with the rotation of queries
// and keys fused in. Built once per instruction set (MQ_ISA names it); dispatch.cpp picks one when the library is loaded.
#include "kernels.h"
#include "lanes.h"
#include "parallel.h"
#include "scratch.h"

#include <cmath>
#include <cstring>

namespace MQ_ISA {
namespace {

constexpr long kStep = 2 * kLanes;  // positions that one pass over the keys scores
constexpr int kMostQueries = 4;     // heads that share a key head, scored together

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

struct Keys { const float* transposed; long stride; const float* values; long size; };

// softmax(q keys) values over the first `limit` positions, for N queries; q [N, size], scores [N, at least limit rounded up].
template <int N> void attend(const float* q, const Keys& keys, long limit, float* scores, long wide, float* result) {
    const long size = keys.size;
    for (long s = 0; s < limit; s += kStep) {
        Lanes low[N] = {}, high[N] = {};
        for (long d = 0; d < size; d++) {
            const Lanes first = load(keys.transposed + d * keys.stride + s), second = load(keys.transposed + d * keys.stride + s + kLanes);
            for (int n = 0; n < N; n++) {
                low[n] += first * q[n * size + d];
                high[n] += second * q[n * size + d];
            }
        }
        for (int n = 0; n < N; n++) {
            store(scores + n * wide + s, low[n]);
            store(scores + n * wide + s + kLanes, high[n]);
        }
    }
    float inverse[N];
    for (int n = 0; n < N; n++) {
        float* row = scores + n * wide;
        const long end = (limit + kLanes - 1) / kLanes * kLanes;
        for (long s = limit; s < end; s++) row[s] = -3.0e38f;
        Lanes peak = broadcast(-3.0e38f);
        for (long s = 0; s < end; s += kLanes) peak = larger(peak, load(row + s));
        float highest = peak[0];
        for (long j = 1; j < kLanes; j++) highest = peak[j] > highest ? peak[j] : highest;
        Lanes total{};
        for (long s = 0; s < end; s += kLanes) {
            Lanes e = exponential(load(row + s) - highest);
            if (s + kLanes > limit)
                for (long j = limit - s; j < kLanes; j++) e[j] = 0.0f;
            store(row + s, e);
            total += e;
        }
        inverse[n] = 1.0f / sum(total);
    }
    for (long c = 0; c < size; c += kStep) {
        Lanes low[N] = {}, high[N] = {};
        if (c + kStep <= size)
            for (long s = 0; s < limit; s++) {
                const Lanes first = load(keys.values + s * size + c), second = load(keys.values + s * size + c + kLanes);
                for (int n = 0; n < N; n++) {
                    low[n] += first * scores[n * wide + s];
                    high[n] += second * scores[n * wide + s];
                }
            }
        else
            for (long s = 0; s < limit; s++) {
                const float* value = keys.values + s * size;
                const Lanes first = load_at(value, c, size), second = c + kLanes < size ? load_at(value, c + kLanes, size) : Lanes{};
                for (int n = 0; n < N; n++) {
                    low[n] += first * scores[n * wide + s];
                    high[n] += second * scores[n * wide + s];
                }
            }
        for (int n = 0; n < N; n++) {
            store_at(result + n * size, low[n] * inverse[n], c, size);
            if (c + kLanes < size) store_at(result + n * size, high[n] * inverse[n], c + kLanes, size);
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
        float* memory = scratch.take(static_cast<size_t>((2 * kMostQueries + 1) * headSize + kMostQueries * wide + (append ? 0 : headSize * wide + total * headSize)));
        float* q = memory;
        float* result = q + kMostQueries * headSize;
        float* rotated = result + kMostQueries * headSize;
        float* scores = rotated + headSize;
        float* keys = append ? cachedKeys + group * headSize * capacity : scores + kMostQueries * wide;
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
        for (long t = 0; t < count; t++) {
            const long position = cached + t, limit = causal ? position + 1 : total;
            for (long head = group * shared; head < (group + 1) * shared; head += kMostQueries) {
                const long left = (group + 1) * shared - head, many = left < kMostQueries ? left : kMostQueries;
                for (long n = 0; n < many; n++)
                    rotate(qkv + (first + t) * width + (head + n) * headSize, angles(cosines, t), angles(sines, t),
                           queryGamma == nullptr ? nullptr : queryGamma + (head + n) * headSize, scale, q + n * headSize, headSize);
                switch (many) {
                    case 1: attend<1>(q, all, limit, scores, wide, result); break;
                    case 2: attend<2>(q, all, limit, scores, wide, result); break;
                    case 3: attend<3>(q, all, limit, scores, wide, result); break;
                    default: attend<4>(q, all, limit, scores, wide, result); break;
                }
                const long at = (first + t) * heads * headSize + head * headSize;
                for (long c = 0; c < many * headSize; c += kLanes) {
                    const Lanes v = load_at(result, c, many * headSize);
                    if (outType == kBFloat16) store_at(static_cast<BFloat16*>(out) + at, v, c, many * headSize);
                    else store_at(static_cast<float*>(out) + at, v, c, many * headSize);
                }
            }
        }
    });
}

}  // namespace MQ_ISA
