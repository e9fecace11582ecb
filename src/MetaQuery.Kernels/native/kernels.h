// The kernels' C interface. Every kernel works on plain pointers, allocates nothing that it keeps, never throws, and
// computes each row alone: a result depends neither on the other rows of a batch nor on the number of threads.
//
// ElementType: how activations are stored; statistics, sums and weights are always float32.
#pragma once

enum ElementType { kFloat32 = 0, kBFloat16 = 1, kHalves = 2 };  // kHalves, of packed weights alone: float32 activations over weights kept as bfloat16
enum Activation { kNone = 0, kRelu = 1, kSilu = 2, kTanhGelu = 3 };

// What a bfloat16 matrix product may use. They round differently, so a caller decides, and keeps to it for one model.
enum Features { kAvx512BFloat16 = 1, kAmxBFloat16 = 2 };

#define MQ_KERNELS(X)                                                                                                   \
    X(layer_norm_modulate, (const float* x, const float* shift, const float* scale, long modulationStride, void* out,   \
                            int type, long rows, long tokens, long channels, float epsilon, int threads))               \
    X(layer_norm, (const float* x, const float* weight, const float* bias, void* out, int type, long tokens,              \
                   long channels, float epsilon, int threads))                                                          \
    X(gated_residual, (float* x, const void* update, int type, const float* bias, const float* gate, long gateStride,   \
                       long rows, long tokens, long channels, int threads))                                             \
    X(glu_depthwise, (const void* x, int type, const float* inputBias, const float* weight, const float* bias,          \
                      void* out, long rows, long height, long width, long channels, int threads))                       \
    X(relu_linear_attention, (const void* qkv, int type, void* out, long rows, long tokens, long heads, long headSize,  \
                              float epsilon, int threads))                                                              \
    X(cross_attention, (const void* query, int type, const float* queryBias, const float* keys, const float* values,    \
                        const long long* context, const float* maskBias, void* out, long rows, long tokens, long heads,  \
                        long headSize, long length, float scale, int threads))                                          \
    X(rms_norm, (const void* x, int inType, const float* weight, const float* bias, void* out, int outType,             \
                 long tokens, long channels, float epsilon, int activation, int threads))                               \
    X(swiglu, (const void* gateUp, int type, void* out, long tokens, long channels, int threads))                       \
    X(bias_activation, (void* x, int type, const float* bias, long tokens, long channels, int activation, int threads))                \
    X(round_to_bfloat16, (const float* x, void* out, long count))                                                        \
    X(pack_weights, (const void* weight, int from, long n, long segments, long k, int type, void* packed))                                   \
    X(packed_matmul, (const void* a, int type, long ldA, const void* packed, const float* bias, int activation,          \
                      const float* gate, long gateStride, long tokens, int residual, void* out, int outType, long ldOut, \
                      long m, long n, long k, int features, int threads))                                                        \
    X(packed_convolution, (const void* padded, int type, long rowPixels, long channels, long taps, long offsetY,           \
                           long offsetX, const void* packed, const float* bias, int activation, int residual, void* out,   \
                           int outType, long outRow, long outPixel, long height, long width, long n, int features,          \
                           int threads))                                                                                    \
    X(rms_norm_add, (const float* update, const float* weight, const float* bias, float* stream, void* padded, int type,   \
                     long height, long width, long channels, float epsilon, int threads))                                   \
    X(pad_pixels, (const float* stream, void* padded, int type, long height, long width, long channels, int threads))      \
    X(upsample_shortcut, (const float* stream, float* out, long height, long width, long inputs, long outputs, int threads)) \
    X(depthwise, (const float* x, const float* weight, float* out, long height, long width, long channels, long kernel,    \
                  int threads))   \
    X(sequence_attention, (const float* qkv, const float* cosines, const float* sines, int perToken,                     \
                           const float* queryGamma, const float* keyGamma, float* cachedKeys, float* cachedValues, long capacity, long cached,    \
                           int append, int causal, const long long* offsets, long sequences, void* out, int outType,     \
                           long heads, long groups, long headSize, float scale, int threads))
