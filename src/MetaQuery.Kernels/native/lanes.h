// Sixteen float lanes as one value. The compiler lowers them to one AVX-512, two AVX2 or four SSE registers, so that
// each kernel is written once; the order of every sum is the same on all of them (fused multiply-add is what differs).
#pragma once
#include <cstdint>
#include <cstring>
#ifdef __AVX512F__
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12 on its own _mm512_undefined_epi32
#include <immintrin.h>
#endif

namespace MQ_ISA {

constexpr long kLanes = 16;
typedef float Lanes __attribute__((vector_size(64)));
typedef int32_t IntLanes __attribute__((vector_size(64)));
typedef uint32_t WordLanes __attribute__((vector_size(64)));
typedef uint16_t HalfLanes __attribute__((vector_size(32)));

struct BFloat16 { uint16_t bits; };

inline Lanes broadcast(float value) { return Lanes{} + value; }

inline Lanes load(const float* p) { Lanes v; std::memcpy(&v, p, sizeof v); return v; }
inline void store(float* p, Lanes v) { std::memcpy(p, &v, sizeof v); }

inline Lanes load(const BFloat16* p) {
#ifdef __AVX512F__  // GCC 12 splits the conversions below into pieces
    return (Lanes)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16);
#endif
    HalfLanes half; std::memcpy(&half, p, sizeof half);
    WordLanes word = __builtin_convertvector(half, WordLanes) << 16;
    return (Lanes)word;
}

// The first or the second value of each of sixteen pairs: a bfloat16 is the upper half of its float.
inline Lanes load_of_pairs(const BFloat16* pairs, bool second) {
    WordLanes word; std::memcpy(&word, pairs, sizeof word);
    return (Lanes)(second ? word & 0xffff0000u : word << 16);
}

// Round to nearest even, as libtorch does; a NaN stays one because its mantissa's top bit is set by the or.
inline void store(BFloat16* p, Lanes v) {
    WordLanes word = (WordLanes)v;
    WordLanes nan = (WordLanes)(v != v);
    word = word + 0x7fffu + ((word >> 16) & 1u);
    word = (word >> 16) | (nan & 0x7fc0u);
#ifdef __AVX512F__
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16((__m512i)word));
    return;
#endif
    HalfLanes half = __builtin_convertvector(word, HalfLanes);
    std::memcpy(p, &half, sizeof half);
}

// The first `count` lanes, the others zero: for the end of a row whose length is no multiple of sixteen.
template <class T> inline Lanes load_part(const T* p, long count) {
    T part[kLanes] = {};
    std::memcpy(part, p, static_cast<size_t>(count) * sizeof(T));
    return load(part);
}
template <class T> inline void store_part(T* p, Lanes v, long count) {
    T part[kLanes];
    store(part, v);
    std::memcpy(p, part, static_cast<size_t>(count) * sizeof(T));
}

template <class T> inline Lanes load_at(const T* p, long at, long length) {
    return at + kLanes <= length ? load(p + at) : load_part(p + at, length - at);
}
template <class T> inline void store_at(T* p, Lanes v, long at, long length) {
    if (at + kLanes <= length) store(p + at, v); else store_part(p + at, v, length - at);
}

inline float sum(Lanes v) {
    float part[kLanes]; std::memcpy(part, &v, sizeof part);
    for (long width = kLanes / 2; width > 0; width /= 2)
        for (long i = 0; i < width; i++) part[i] += part[i + width];
    return part[0];
}

inline Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }
inline Lanes smaller(Lanes a, Lanes b) { return a < b ? a : b; }

// e^x within 2 units in the last place for x in [-87, 88], clamped outside: Cody-Waite reduction and the
// polynomial of Cephes' expf.
inline Lanes exponential(Lanes x) {
    x = smaller(larger(x, broadcast(-87.3f)), broadcast(88.3f));
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
    Lanes shifted = x * 1.44269504088896341f + magic;
    Lanes n = shifted - magic;
    Lanes r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    Lanes p = broadcast(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    Lanes y = p * r * r + r + 1.0f;
    IntLanes power = (__builtin_convertvector(n, IntLanes) + 127) << 23;
    return y * (Lanes)power;
}

inline float widen(float value) { return value; }
inline float widen(BFloat16 value) {
    const uint32_t word = static_cast<uint32_t>(value.bits) << 16;
    float result; std::memcpy(&result, &word, sizeof result);
    return result;
}
inline BFloat16 narrow(float value) {
    BFloat16 part[kLanes];
    store(part, broadcast(value));
    return part[0];
}

// 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), with tanh y = 1 - 2 / (e^2y + 1).
inline Lanes tanh_gelu(Lanes x) {
    const Lanes y = (x + x * x * x * 0.044715f) * 0.7978845608028654f;
    return x - x / (exponential(y + y) + 1.0f);
}

inline Lanes sigmoid(Lanes x) { return 1.0f / (1.0f + exponential(-x)); }
inline Lanes silu(Lanes x) { return x / (1.0f + exponential(-x)); }

// Softmax, in place: scores become weights, zero from `length` to the end of its sixteen; returns one over their sum, by which nobody has divided.
inline float soften(float* scores, long length) {
    const long end = (length + kLanes - 1) / kLanes * kLanes;
    for (long s = length; s < end; s++) scores[s] = -3.0e38f;
    Lanes peak = broadcast(-3.0e38f);
    for (long s = 0; s < end; s += kLanes) peak = larger(peak, load(scores + s));
    float highest = peak[0];
    for (long j = 1; j < kLanes; j++) highest = peak[j] > highest ? peak[j] : highest;
    Lanes total{};
    for (long s = 0; s < end; s += kLanes) {
        Lanes e = exponential(load(scores + s) - highest);
        if (s + kLanes > length)
            for (long j = length - s; j < kLanes; j++) e[j] = 0.0f;
        store(scores + s, e);
        total += e;
    }
    return 1.0f / sum(total);
}

}  // namespace MQ_ISA
