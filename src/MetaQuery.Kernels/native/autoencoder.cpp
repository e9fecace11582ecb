// What a DC-AE decoder does between its products and convolutions. A stage's stream is [height * width, channels] float32; what a
// convolution reads is a copy with a border of zeros, [height + 2, width + 2, channels].
// Built once per instruction set (MQ_ISA names it); dispatch.cpp picks one when the library is loaded.
#include "kernels.h"
#include "lanes.h"
#include "parallel.h"

#include <cmath>

namespace MQ_ISA {
namespace {

void put(void* out, int type, long at, Lanes v, long c, long channels) {
    if (type == kBFloat16) store_at(static_cast<BFloat16*>(out) + at, v, c, channels);
    else store_at(static_cast<float*>(out) + at, v, c, channels);
}

long padded_at(long y, long x, long width, long channels) { return ((y + 1) * (width + 2) + x + 1) * channels; }

}  // namespace

// stream += update / sqrt(mean(update^2) + epsilon) * weight + bias; the new stream also goes to padded's interior, if there is one.
void rms_norm_add(const float* update, const float* weight, const float* bias, float* stream, void* padded, int type, long height,
                  long width, long channels, float epsilon, int threads) {
    each(height, threads, [&](long y) {
        for (long x = 0; x < width; x++) {
            const float* source = update + (y * width + x) * channels;
            float* target = stream + (y * width + x) * channels;
            Lanes squares{};
            for (long c = 0; c < channels; c += kLanes) {
                const Lanes v = load_at(source, c, channels);
                squares += v * v;
            }
            const float inverse = 1.0f / std::sqrt(sum(squares) / static_cast<float>(channels) + epsilon);
            for (long c = 0; c < channels; c += kLanes) {
                const Lanes v = load_at(source, c, channels) * inverse * load_at(weight, c, channels) + load_at(bias, c, channels) + load_at(target, c, channels);
                store_at(target, v, c, channels);
                if (padded != nullptr) put(padded, type, padded_at(y, x, width, channels), v, c, channels);
            }
        }
    });
}

// The interior of a padded copy; its border is not touched.
void pad_pixels(const float* stream, void* padded, int type, long height, long width, long channels, int threads) {
    each(height, threads, [&](long y) {
        for (long c = 0; c < width * channels; c += kLanes)
            put(padded, type, padded_at(y, 0, width, channels), load_at(stream + y * width * channels, c, width * channels), c, width * channels);
    });
}

// Each channel repeated in place, then shuffled: out[2y + i, 2x + j, o] = stream[y, x, (4 o + 2 i + j) inputs / (4 outputs)].
void upsample_shortcut(const float* stream, float* out, long height, long width, long inputs, long outputs, int threads) {
    const long repeats = outputs * 4 / inputs;
    each(2 * height, threads, [&](long y) {
        for (long x = 0; x < 2 * width; x++) {
            const float* source = stream + (y / 2 * width + x / 2) * inputs;
            float* target = out + (y * 2 * width + x) * outputs;
            const long phase = y % 2 * 2 + x % 2;
            if (repeats == 2) for (long o = 0; o < outputs; o++) target[o] = source[2 * o + phase / 2];
            else if (repeats == 4) for (long o = 0; o < outputs; o++) target[o] = source[o];
            else for (long o = 0; o < outputs; o++) target[o] = source[(4 * o + phase) / repeats];
        }
    });
}

// A depth-wise convolution with zeros beyond the edges: x and out [height * width, channels], weight [kernel * kernel, channels].
void depthwise(const float* x, const float* weight, float* out, long height, long width, long channels, long kernel, int threads) {
    const long reach = kernel / 2;
    each(height, threads, [&](long y) {
        for (long column = 0; column < width; column++)
            for (long c = 0; c < channels; c += kLanes) {
                Lanes total{};
                for (long dy = -reach; dy <= reach; dy++)
                    for (long dx = -reach; dx <= reach; dx++)
                        if (y + dy >= 0 && y + dy < height && column + dx >= 0 && column + dx < width)
                            total += load_at(x + ((y + dy) * width + column + dx) * channels, c, channels)
                                * load_at(weight + ((dy + reach) * kernel + dx + reach) * channels, c, channels);
                store_at(out + (y * width + column) * channels, total, c, channels);
            }
    });
}

}  // namespace MQ_ISA
