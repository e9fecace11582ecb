// Built once per instruction set (MQ_ISA names it); dispatch.cpp picks one when the library is loaded.
#include "kernels.h"
#include "lanes.h"
#include "parallel.h"
#include "scratch.h"

#include <cmath>
#include <cstdlib>
#include <type_traits>

namespace MQ_ISA {
namespace {

// Calls body with a null pointer of the element type's C++ type.
template <class Body> void with_type(int type, Body body) {
    if (type == kBFloat16) body(static_cast<BFloat16*>(nullptr)); else body(static_cast<float*>(nullptr));
}
#define ELEMENT(tag) std::remove_pointer_t<decltype(tag)>

Lanes activate(Lanes v, int activation) {
    if (activation == kRelu) return larger(v, Lanes{});
    return activation == kSilu ? silu(v) : v;
}

// (x - mean) / sqrt(variance + epsilon) * (scale + One) + shift.
template <int One, class T>
void normalize(const float* x, const float* shift, const float* scale, T* target, long channels, float epsilon) {
    Lanes total{};
    for (long c = 0; c < channels; c += kLanes) total += load_at(x, c, channels);
    const float mean = sum(total) / static_cast<float>(channels);
    Lanes squares{};
    for (long c = 0; c < channels; c += kLanes) {
        Lanes d = c + kLanes <= channels ? load(x + c) - mean : Lanes{};
        if (c + kLanes > channels)  // absent channels must not count as -mean
            for (long j = 0; j < channels - c; j++) d[j] = x[c + j] - mean;
        squares += d * d;
    }
    const float inverse = 1.0f / std::sqrt(sum(squares) / static_cast<float>(channels) + epsilon);
    for (long c = 0; c < channels; c += kLanes) {
        const Lanes normal = (load_at(x, c, channels) - mean) * inverse, factor = load_at(scale, c, channels);
        store_at(target, normal * (One ? factor + 1.0f : factor) + load_at(shift, c, channels), c, channels);
    }
}

}  // namespace

// out = (x - mean) / sqrt(variance + epsilon) * (1 + scale) + shift, per token.
void layer_norm_modulate(const float* x, const float* shift, const float* scale, long modulationStride, void* out,
                         int type, long rows, long tokens, long channels, float epsilon, int threads) {
    with_type(type, [&](auto tag) {
        using T = ELEMENT(tag);
        each(rows * tokens, threads, [&](long i) {
            const long row = i / tokens * modulationStride;
            normalize<1>(x + i * channels, shift + row, scale + row, static_cast<T*>(out) + i * channels, channels, epsilon);
        });
    });
}

// LayerNorm(x) * weight + bias.
void layer_norm(const float* x, const float* weight, const float* bias, void* out, int type, long tokens, long channels, float epsilon,
                int threads) {
    with_type(type, [&](auto tag) {
        using T = ELEMENT(tag);
        each(tokens, threads, [&](long i) {
            normalize<0>(x + i * channels, bias, weight, static_cast<T*>(out) + i * channels, channels, epsilon);
        });
    });
}

// x += gate * (update + bias); a null gate is one, a null bias zero.
void gated_residual(float* x, const void* update, int type, const float* bias, const float* gate, long gateStride,
                    long rows, long tokens, long channels, int threads) {
    with_type(type, [&](auto tag) {
        using T = ELEMENT(tag);
        each(rows * tokens, threads, [&](long i) {
            float* target = x + i * channels;
            const T* source = static_cast<const T*>(update) + i * channels;
            const float* rowGate = gate == nullptr ? nullptr : gate + i / tokens * gateStride;
            for (long c = 0; c < channels; c += kLanes) {
                Lanes v = load_at(source, c, channels);
                if (bias != nullptr) v += load_at(bias, c, channels);
                if (rowGate != nullptr) v *= load_at(rowGate, c, channels);
                store_at(target, load_at(target, c, channels) + v, c, channels);
            }
        });
    });
}

// GLUMBConv between its two projections (diffusers 0.33): SiLU of the input, 3 x 3 depthwise convolution with zero
// padding, value * SiLU(gate). x [rows, height * width, 2 * channels] -> out [rows, height * width, channels];
// weight [9, 2 * channels], tap-major. A chunk of channels is activated once and stays in the cache for its nine taps.
void glu_depthwise(const void* x, int type, const float* inputBias, const float* weight, const float* bias, void* out,
                   long rows, long height, long width, long channels, int threads) {
    constexpr long kChunk = 8 * kLanes;
    const long positions = height * width, chunks = (channels + kChunk - 1) / kChunk;
    const long paddedWidth = width + 2, padded = (height + 2) * paddedWidth;
    with_type(type, [&](auto tag) {
        using T = ELEMENT(tag);
        each(rows * chunks, threads, [&](long task) {
            const long row = task / chunks, first = task % chunks * kChunk;
            const long size = channels - first < kChunk ? channels - first : kChunk;
            const long vectors = (size + kLanes - 1) / kLanes;
            const T* source = static_cast<const T*>(x) + row * positions * 2 * channels;
            T* target = static_cast<T*>(out) + row * positions * channels + first;
            // [vectors][halves][height + 2][width + 2][kLanes]: the zero border stands for the convolution's padding
            float* active = scratch.take(static_cast<size_t>(2 * vectors * padded * kLanes));
            const long plane = padded * kLanes;
            for (long i = 0; i < 2 * vectors; i++) {
                float* border = active + i * plane;
                std::memset(border, 0, static_cast<size_t>(paddedWidth * kLanes) * sizeof(float));
                std::memset(border + (height + 1) * paddedWidth * kLanes, 0, static_cast<size_t>(paddedWidth * kLanes) * sizeof(float));
                for (long y = 1; y <= height; y++) {
                    store(border + y * paddedWidth * kLanes, Lanes{});
                    store(border + (y * paddedWidth + width + 1) * kLanes, Lanes{});
                }
            }
            for (long y = 0; y < height; y++)
                for (long column = 0; column < width; column++)
                    for (long half = 0; half < 2; half++) {
                        const T* position = source + (y * width + column) * 2 * channels + half * channels + first;
                        float* place = active + half * plane + ((y + 1) * paddedWidth + column + 1) * kLanes;
                        for (long v = 0; v < vectors; v++) {
                            Lanes value = load_at(position, v * kLanes, size);
                            if (inputBias != nullptr) value += load_at(inputBias + half * channels + first, v * kLanes, size);
                            store(place + v * 2 * plane, silu(value));
                        }
                    }
            for (long v = 0; v < vectors; v++) {
                const float* valuePlane = active + v * 2 * plane;
                const float* gatePlane = valuePlane + plane;
                Lanes taps[18];  // they stay in registers over all positions
                for (long tap = 0; tap < 9; tap++)
                    for (long half = 0; half < 2; half++)
                        taps[half * 9 + tap] = load_at(weight + tap * 2 * channels + half * channels + first, v * kLanes, size);
                const Lanes valueBias = bias == nullptr ? Lanes{} : load_at(bias + first, v * kLanes, size);
                const Lanes gateBias = bias == nullptr ? Lanes{} : load_at(bias + channels + first, v * kLanes, size);
                for (long y = 0; y < height; y++)
                    for (long column = 0; column < width; column++) {
                        const long corner = (y * paddedWidth + column) * kLanes;
                        Lanes value = valueBias, gate = gateBias;
                        for (long dy = 0; dy < 3; dy++)
                            for (long dx = 0; dx < 3; dx++) {
                                const long at = corner + (dy * paddedWidth + dx) * kLanes;
                                value += load(valuePlane + at) * taps[dy * 3 + dx];
                                gate += load(gatePlane + at) * taps[9 + dy * 3 + dx];
                            }
                        store_at(target + (y * width + column) * channels, value * silu(gate), v * kLanes, size);
                    }
            }
        });
    });
}

// Linear attention with ReLU features (SanaLinearAttnProcessor2_0): per head,
// out = relu(q) (relu(k)^T v) / (relu(q) sum relu(k) + epsilon). qkv [rows, tokens, 3 * heads * headSize]: all q, k, v.
void relu_linear_attention(const void* qkv, int type, void* out, long rows, long tokens, long heads, long headSize,
                           float epsilon, int threads) {
    const long channels = heads * headSize, wide = (headSize + kLanes - 1) / kLanes * kLanes, vectors = wide / kLanes;
    with_type(type, [&](auto tag) {
        using T = ELEMENT(tag);
        each(rows * heads, threads, [&](long task) {
            const long row = task / heads, head = task % heads;
            const T* base = static_cast<const T*>(qkv) + row * tokens * 3 * channels + head * headSize;
            T* target = static_cast<T*>(out) + row * tokens * channels + head * headSize;
            float* state = scratch.take(static_cast<size_t>(headSize * wide + wide + 4 * wide * tokens));
            float* keySum = state + headSize * wide;
            float* q = keySum + wide;              // [tokens, wide], after the ReLU
            float* k = q + tokens * wide;
            float* v = k + tokens * wide;
            std::memset(state, 0, static_cast<size_t>(headSize * wide + wide) * sizeof(float));
            for (long t = 0; t < tokens; t++)
                for (long c = 0; c < wide; c += kLanes) {
                    const T* token = base + t * 3 * channels;
                    store(q + t * wide + c, larger(load_at(token, c, headSize), Lanes{}));
                    const Lanes key = larger(load_at(token + channels, c, headSize), Lanes{});
                    store(k + t * wide + c, key);
                    store(v + t * wide + c, load_at(token + 2 * channels, c, headSize));
                    store(keySum + c, load(keySum + c) + key);
                }
            for (long d = 0; d < headSize; d += 8)
                for (long c = 0; c < vectors; c++) {
                    const long many = headSize - d < 8 ? headSize - d : 8;
                    Lanes total[8] = {};
                    for (long t = 0; t < tokens; t++) {
                        const Lanes value = load(v + t * wide + c * kLanes);
                        const float* key = k + t * wide + d;
                        if (many == 8)
                            for (int j = 0; j < 8; j++) total[j] += value * key[j];
                        else
                            for (long j = 0; j < many; j++) total[j] += value * key[j];
                    }
                    for (long j = 0; j < many; j++) store(state + (d + j) * wide + c * kLanes, total[j]);
                }
            for (long t = 0; t < tokens; t++) {
                Lanes weight{};
                for (long c = 0; c < wide; c += kLanes) weight += load(q + t * wide + c) * load(keySum + c);
                const float inverse = 1.0f / (sum(weight) + epsilon);
                for (long c = 0; c < vectors; c++) {
                    // two chains hide the latency of a fused multiply-add
                    Lanes even{}, odd{};
                    const float* query = q + t * wide;
                    long d = 0;
                    for (; d + 2 <= headSize; d += 2) {
                        even += load(state + d * wide + c * kLanes) * query[d];
                        odd += load(state + (d + 1) * wide + c * kLanes) * query[d + 1];
                    }
                    if (d < headSize) even += load(state + d * wide + c * kLanes) * query[d];
                    store_at(target + t * channels, (even + odd) * inverse, c * kLanes, headSize);
                }
            }
        });
    });
}

// out = activation(x / sqrt(mean(x^2) + epsilon) * weight + bias), per token; null weight is one, null bias zero.
void rms_norm(const void* x, int inType, const float* weight, const float* bias, void* out, int outType, long tokens,
              long channels, float epsilon, int activation, int threads) {
    with_type(inType, [&](auto inTag) { with_type(outType, [&](auto outTag) {
        using In = ELEMENT(inTag);
        using Out = ELEMENT(outTag);
        each(tokens, threads, [&](long i) {
            const In* source = static_cast<const In*>(x) + i * channels;
            Out* target = static_cast<Out*>(out) + i * channels;
            Lanes squares{};
            for (long c = 0; c < channels; c += kLanes) {
                const Lanes v = load_at(source, c, channels);
                squares += v * v;
            }
            const float inverse = 1.0f / std::sqrt(sum(squares) / static_cast<float>(channels) + epsilon);
            for (long c = 0; c < channels; c += kLanes) {
                Lanes v = load_at(source, c, channels) * inverse;
                if (weight != nullptr) v *= load_at(weight, c, channels);
                if (bias != nullptr) v += load_at(bias, c, channels);
                store_at(target, activate(v, activation), c, channels);
            }
        });
    }); });
}

// gateUp [tokens, 2 * channels], the gate first -> out [tokens, channels] = silu(gate) * up.
void swiglu(const void* gateUp, int type, void* out, long tokens, long channels, int threads) {
    with_type(type, [&](auto tag) {
        using T = ELEMENT(tag);
        each(tokens, threads, [&](long i) {
            const T* gate = static_cast<const T*>(gateUp) + i * 2 * channels;
            T* target = static_cast<T*>(out) + i * channels;
            for (long c = 0; c < channels; c += kLanes)
                store_at(target, silu(load_at(gate, c, channels)) * load_at(gate + channels, c, channels), c, channels);
        });
    });
}

// x = activation(x + bias), in place.
void bias_activation(void* x, int type, const float* bias, long tokens, long channels, int activation, int threads) {
    with_type(type, [&](auto tag) {
        using T = ELEMENT(tag);
        each(tokens, threads, [&](long i) {
            T* target = static_cast<T*>(x) + i * channels;
            for (long c = 0; c < channels; c += kLanes) {
                Lanes v = load_at(target, c, channels);
                if (bias != nullptr) v += load_at(bias, c, channels);
                store_at(target, activate(v, activation), c, channels);
            }
        });
    });
}

}  // namespace MQ_ISA
