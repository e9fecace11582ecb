// Matrix products with packed weights and what follows them fused in: bias, activation, gate, residual.
// Built once per instruction set (MQ_ISA names it); dispatch.cpp picks one when the library is loaded.
//
// Packed weights: panels of 32 outputs. Float32: [panel][K][32]. BFloat16: [panel][K / 2][32][2], pairs along K, which is what
// both VDPBF16PS and AMX read. Halves: [panel][K][32] in bfloat16, widened as they are read: of weights that were stored in bfloat16
// these give float32's bits in half the memory. Outputs beyond N are zeros.
#include "kernels.h"
#include "lanes.h"
#include "parallel.h"
#include "scratch.h"

#ifdef __AVX512F__
#include "matmul_amx.h"
#include "matmul_avx512.h"
#endif

namespace MQ_ISA {
namespace {

constexpr long kPanel = 32;
constexpr long kBlockBytes = 384 * 1024;  // of rows of A, which stay in the second-level cache while the panels pass by
constexpr long kLargeBytes = 4 << 20;     // of weights: more than a second-level cache holds, so they are read once, and A many times
constexpr long kLargeRows = 240;          // of A for such weights

struct Epilogue {
    const float* bias; int activation; const float* gate; long gateStride, tokens; bool residual;
    void* out; int type; long stride, columns;

    template <class T> void put(long row, long column, const float* accumulated) const {
        T* target = static_cast<T*>(out) + row * stride;
        const float* rowGate = gate == nullptr ? nullptr : gate + (gateStride == 0 ? 0 : row / tokens * gateStride);
        for (long c = column; c < column + kPanel && c < columns; c += kLanes) {
            Lanes v = load(accumulated + (c - column));
            if (bias != nullptr) v += load_at(bias, c, columns);
            if (activation == kSilu) v = silu(v);
            else if (activation == kRelu) v = larger(v, Lanes{});
            else if (activation == kTanhGelu) v = tanh_gelu(v);
            if (rowGate != nullptr) v *= load_at(rowGate, c, columns);
            if (residual) v += load_at(target, c, columns);
            store_at(target, v, c, columns);
        }
    }

    void rows(long row, long count, long column, const float* tile) const {
        for (long i = 0; i < count; i++)
            if (type == kBFloat16) put<BFloat16>(row + i, column, tile + i * kPanel);
            else put<float>(row + i, column, tile + i * kPanel);
    }
};

#ifdef __AVX512F__
MQ_TILE_KERNELS(tile_float_, "vbroadcastss", "vfmadd231ps", MQ_ROW, MQ_LOAD_B)
MQ_TILE_KERNELS(tile_pairs_, "vpbroadcastd", "vdpbf16ps", MQ_ROW, MQ_LOAD_B)
MQ_TILE_KERNELS(half_tile_float_, "vbroadcastss", "vfmadd231ps", MQ_HALF_ROW, MQ_LOAD_HALF_B)
MQ_TILE_KERNELS(half_tile_pairs_, "vpbroadcastd", "vdpbf16ps", MQ_HALF_ROW, MQ_LOAD_HALF_B)
typedef void (*TileKernel)(const void*, long, const void*, long, long, long, float*);
struct TileKernels { TileKernel twelve, eight, four, one; };
#define MQ_TILES(name) {name##12, name##8, name##4, name##1}
const TileKernels kTiles[2][2] = {{MQ_TILES(tile_float_), MQ_TILES(half_tile_float_)}, {MQ_TILES(tile_pairs_), MQ_TILES(half_tile_pairs_)}};

// How many rows the next tile takes: twelve keep all registers busy, and eights leave no remainder of four.
inline long next_rows(long left) { return left >= 12 && left != 16 ? 12 : left >= 8 ? 8 : left >= 4 ? 4 : 1; }

#endif

// Rows of A for one panel: k of them in each of the segments, skip bytes apart. A product has one segment, a convolution one per
// row of taps.
struct Rows { const char* a; int type; long lda, k, segments, skip; };

}  // namespace
}  // namespace MQ_ISA
#if defined(__AVX2__) && !defined(__AVX512F__)
#include "matmul_avx2.h"
#endif
namespace MQ_ISA {
namespace {

// The portable tile, for any instruction set and type: A in T, weights in W; four rows, half a panel at a time.
template <class T, class W> void tile_portable(const Rows& from, long start, const void* packed, long count, float* out) {
    constexpr long pair = sizeof(T) == 2 ? 2 : 1;
    for (long half = 0; half < kPanel; half += kLanes)
        for (long first = 0; first < count; first += 4) {
            Lanes total[4] = {};
            const W* weights = static_cast<const W*>(packed);
            for (long segment = 0; segment < from.segments; segment++) {
                const char* base = from.a + segment * (from.k * static_cast<long>(sizeof(T)) + from.skip);
                const T* row[4];
                for (long i = 0; i < 4; i++)
                    row[i] = reinterpret_cast<const T*>(base + (start + (first + i < count ? first + i : first)) * from.lda);
                for (long step = 0; step < from.k; step++) {
                    const W* b = weights + (step / pair * kPanel + half) * pair;
                    Lanes column;
                    if constexpr (pair == 1) column = load(b);
                    else column = load_of_pairs(b, step % 2 != 0);
                    for (int i = 0; i < 4; i++) total[i] += column * widen(row[i][step]);
                }
                weights += (from.k + pair - 1) / pair * pair * kPanel;
            }
            for (long i = 0; i < 4 && first + i < count; i++) store(out + (first + i) * kPanel + half, total[i]);
        }
}

void block(const Rows& from, const char* panel, long row, long rows, long column, int features, const Epilogue& epilogue) {
#ifdef __AVX512F__
    if (from.type == kBFloat16 && (features & kAmxBFloat16) != 0 && from.k % 32 == 0) {
        alignas(64) float tile[32 * kPanel];
        for (long done = 0; done < rows;) {
            const long count = rows - done < 32 ? rows - done : 32;
            amx_tile(from.a + done * from.lda, from.lda, panel, from.k, from.segments, from.skip, count, tile);
            epilogue.rows(row + done, count, column, tile);
            done += count;
        }
        return;
    }
    const bool pairs = from.type == kBFloat16 && (features & kAvx512BFloat16) != 0 && from.k % 2 == 0;
    if (from.type == kHalves) {
        const long steps = from.segments * from.k;
        float* wide = scratch.take(static_cast<size_t>(steps * kPanel));
        for (long at = 0; at < steps * kPanel; at += kLanes) store(wide + at, load(reinterpret_cast<const BFloat16*>(panel) + at));
        Rows widened = from;
        widened.type = kFloat32;
        block(widened, reinterpret_cast<const char*>(wide), row, rows, column, features, epilogue);
        return;
    }
    if (from.type == kFloat32 || pairs) {
        const TileKernels& tiles = kTiles[pairs][epilogue.columns - column <= kLanes];
        alignas(64) float tile[12 * kPanel];
        for (long done = 0; done < rows;) {
            const long count = next_rows(rows - done);
            (count == 12 ? tiles.twelve : count == 8 ? tiles.eight : count == 4 ? tiles.four : tiles.one)(
                from.a + done * from.lda, from.lda, panel, pairs ? from.k / 2 : from.k, from.segments, from.skip, tile);
            epilogue.rows(row + done, count, column, tile);
            done += count;
        }
        return;
    }
#endif
    (void)features;
#if defined(__AVX2__) && !defined(__AVX512F__)
    alignas(64) float tile[kLargeRows * kPanel];
    long most = kLargeRows;
    if (from.type == kBFloat16) {
        const long fit = kWidenedFloats / (from.segments * from.k) / 6 * 6;
        most = fit > kLargeRows ? kLargeRows : fit < kCopiedRows ? kCopiedRows : fit;
    }
    for (long done = 0; done < rows; done += most) {
        const long count = rows - done < most ? rows - done : most;
        if (from.type == kBFloat16) pairs_avx2(from, done, panel, count, tile);
        else if (from.type == kHalves) panel_avx2<kHalves>(from, done, panel, count, tile);
        else panel_avx2<kFloat32>(from, done, panel, count, tile);
        epilogue.rows(row + done, count, column, tile);
    }
#else
    alignas(64) float tile[12 * kPanel];
    for (long done = 0; done < rows; done += 12) {
        const long count = rows - done < 12 ? rows - done : 12;
        if (from.type == kBFloat16) tile_portable<BFloat16, BFloat16>(from, done, panel, count, tile);
        else if (from.type == kHalves) tile_portable<float, BFloat16>(from, done, panel, count, tile);
        else tile_portable<float, float>(from, done, panel, count, tile);
        epilogue.rows(row + done, count, column, tile);
    }
#endif
}

long panel_bytes(int type, long k) { return type == kBFloat16 ? (k + 1) / 2 * kPanel * 4 : k * kPanel * (type == kHalves ? 2 : 4); }

// weight [n, segments, k] of type S -> packed.
template <class S> void pack(const S* weight, long n, long segments, long k, int type, char* packed) {
    for (long at = 0; at < (n + kPanel - 1) / kPanel * segments; at++) {
        const long panel = at / segments, segment = at % segments;
        char* target = packed + at * panel_bytes(type, k);
        for (long step = 0; step < (type == kBFloat16 ? (k + 1) / 2 * 2 : k); step++)
            for (long c = 0; c < kPanel; c++) {
                const long output = panel * kPanel + c;
                const float value = output < n && step < k ? widen(weight[(output * segments + segment) * k + step]) : 0.0f;
                if (type == kBFloat16) reinterpret_cast<BFloat16*>(target)[(step / 2 * kPanel + c) * 2 + step % 2] = narrow(value);
                else if (type == kHalves) reinterpret_cast<BFloat16*>(target)[step * kPanel + c] = narrow(value);
                else reinterpret_cast<float*>(target)[step * kPanel + c] = value;
            }
    }
}

}  // namespace

void round_to_bfloat16(const float* x, void* out, long count) {
    for (long i = 0; i < count; i += kLanes) store_at(static_cast<BFloat16*>(out), load_at(x, i, count), i, count);
}

// weight [n, segments, k], float32 or bfloat16 (from) -> packed, (n + 31) / 32 panels of segments times panel_bytes each.
void pack_weights(const void* weight, int from, long n, long segments, long k, int type, void* packed) {
    if (from == kBFloat16) pack(static_cast<const BFloat16*>(weight), n, segments, k, type, static_cast<char*>(packed));
    else pack(static_cast<const float*>(weight), n, segments, k, type, static_cast<char*>(packed));
}

// out[m, n] (+)= gate * activation(a[m, k] * weightᵀ + bias), out's rows ldOut elements apart, a's rows ldA. A residual adds to
// what out holds. Null bias and gate are zero and one; row i's gate is gate + i / tokens * gateStride.
void packed_matmul(const void* a, int type, long ldA, const void* packed, const float* bias, int activation, const float* gate,
                   long gateStride, long tokens, int residual, void* out, int outType, long ldOut, long m, long n, long k,
                   int features, int threads) {
    const long elementBytes = type == kBFloat16 ? 2 : 4, lda = ldA * elementBytes;
    long blockRows = kBlockBytes / (k * elementBytes) / 96 * 96;
    if (blockRows < 96) blockRows = 96;
    const long panels = (n + kPanel - 1) / kPanel;
    const bool large = panels * panel_bytes(type, k) > kLargeBytes;
    if (large) blockRows = kLargeRows;
    const long blocks = (m + blockRows - 1) / blockRows;
    const Epilogue epilogue{bias, activation, gate, gateStride, tokens, residual != 0, out, outType, ldOut, n};
    each(blocks * panels, threads, [&](long task) {
        const long row = (large ? task % blocks : task / panels) * blockRows, panel = large ? task / blocks : task % panels;
        const long rows = m - row < blockRows ? m - row : blockRows;
#ifdef __AVX512F__
        const AmxTiles tiles(type == kBFloat16 && k % 32 == 0 && (features & kAmxBFloat16) != 0);
#endif
        block({static_cast<const char*>(a) + row * lda, type, lda, k, 1, 0}, static_cast<const char*>(packed) + panel * panel_bytes(type, k),
              row, rows, panel * kPanel, features, epilogue);
    });
}

// A convolution of taps x taps over padded rows [.., width + 2 pixels, channels]; output pixel (y, x) reads from input pixel
// (y + offsetY, x + offsetX) on. Weights are packed per row of taps: inputs are [taps, taps * channels], outputs n.
// out's pixel (y, x) lies at y * outRow + x * outPixel elements. A residual adds to what out holds.
void packed_convolution(const void* padded, int type, long rowPixels, long channels, long taps, long offsetY, long offsetX,
                        const void* packed, const float* bias, int activation, int residual, void* out, int outType, long outRow,
                        long outPixel, long height, long width, long n, int features, int threads) {
    const long elementBytes = type == kBFloat16 ? 2 : 4, outBytes = outType == kBFloat16 ? 2 : 4, k = taps * channels;
    const long panels = (n + kPanel - 1) / kPanel, bytes = panel_bytes(type, k) * taps;
    const long imageRows = height * width <= 256 ? height : (256 + width - 1) / width, blocks = (height + imageRows - 1) / imageRows;
    each(blocks * panels, threads, [&](long task) {
        const long panel = task % panels, first = task / panels * imageRows;
#ifdef __AVX512F__
        const AmxTiles tiles(type == kBFloat16 && k % 32 == 0 && (features & kAmxBFloat16) != 0);
#endif
        for (long y = first; y < height && y < first + imageRows; y++) {
            const char* a = static_cast<const char*>(padded) + ((y + offsetY) * rowPixels + offsetX) * channels * elementBytes;
            const Epilogue epilogue{bias, activation, nullptr, 0, 1, residual != 0, static_cast<char*>(out) + y * outRow * outBytes, outType, outPixel, n};
            block({a, type, channels * elementBytes, k, taps, (rowPixels - taps) * channels * elementBytes},
                  static_cast<const char*>(packed) + panel * bytes, 0, width, panel * kPanel, features, epilogue);
        }
    });
}

}  // namespace MQ_ISA
