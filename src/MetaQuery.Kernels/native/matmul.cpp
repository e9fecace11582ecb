// Matrix products with packed weights and what follows them fused in: bias, activation, gate, residual.
// Built once per instruction set (MQ_ISA names it); dispatch.cpp picks one when the library is loaded.
//
// Packed weights: panels of 32 outputs. Float32: [panel][K][32]. BFloat16: [panel][K / 2][32][2], pairs along K, which is what
// both VDPBF16PS and AMX read. Outputs beyond N are zeros.
#include "kernels.h"
#include "lanes.h"
#include "parallel.h"

#ifdef __AVX512F__
#include "matmul_amx.h"
#include "matmul_avx512.h"
#endif

namespace MQ_ISA {
namespace {

constexpr long kPanel = 32;
constexpr long kBlockBytes = 192 * 1024;  // of rows of A, which stay in the second-level cache while the panels pass by

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

// The portable tile, for any instruction set and either type: four rows, half a panel at a time.
template <class T> void tile_portable(const void* a, long lda, const void* packed, long k, long count, float* out) {
    constexpr long pair = sizeof(T) == 2 ? 2 : 1;
    const T* weights = static_cast<const T*>(packed);
    for (long half = 0; half < kPanel; half += kLanes)
        for (long first = 0; first < count; first += 4) {
            const T* row[4];
            for (long i = 0; i < 4; i++) row[i] = reinterpret_cast<const T*>(static_cast<const char*>(a) + (first + i < count ? first + i : first) * lda);
            Lanes total[4] = {};
            for (long step = 0; step < k; step++) {
                const T* b = weights + (step / pair * kPanel + half) * pair + step % pair;
                Lanes column;
                if (pair == 1) column = load(b);
                else for (long c = 0; c < kLanes; c++) column[c] = widen(b[c * pair]);
                for (int i = 0; i < 4; i++) total[i] += column * widen(row[i][step]);
            }
            for (long i = 0; i < 4 && first + i < count; i++) store(out + (first + i) * kPanel + half, total[i]);
        }
}

#ifdef __AVX512F__
MQ_TILE_KERNELS(tile_float_, "vbroadcastss", "vfmadd231ps")
MQ_TILE_KERNELS(tile_pairs_, "vpbroadcastd", "vdpbf16ps")

// How many rows the next tile takes: twelve keep all registers busy, and eights leave no remainder of four.
inline long next_rows(long left) { return left >= 12 && left != 16 ? 12 : left >= 8 ? 8 : left >= 4 ? 4 : 1; }

template <class Tile12, class Tile8, class Tile4, class Tile1>
void block_avx512(const char* a, long lda, const void* b, long steps, long row, long rows, long column, const Epilogue& epilogue,
                  Tile12 tile12, Tile8 tile8, Tile4 tile4, Tile1 tile1) {
    alignas(64) float tile[12 * kPanel];
    for (long done = 0; done < rows;) {
        const long count = next_rows(rows - done);
        (count == 12 ? tile12 : count == 8 ? tile8 : count == 4 ? tile4 : tile1)(a + done * lda, lda, b, steps, tile);
        epilogue.rows(row + done, count, column, tile);
        done += count;
    }
}
#endif

void block(const char* a, int type, long lda, const char* panel, long k, long row, long rows, long column, int features, const Epilogue& epilogue) {
#ifdef __AVX512F__
    if (type == kFloat32) {
        block_avx512(a, lda, panel, k, row, rows, column, epilogue, tile_float_12, tile_float_8, tile_float_4, tile_float_1);
        return;
    }
    if ((features & kAmxBFloat16) != 0 && k % 32 == 0) {
        alignas(64) float tile[32 * kPanel];
        for (long done = 0; done < rows;) {
            const long count = rows - done < 32 ? rows - done : 32;
            amx_tile(a + done * lda, lda, panel, k, count, tile);
            epilogue.rows(row + done, count, column, tile);
            done += count;
        }
        return;
    }
    if ((features & kAvx512BFloat16) != 0 && k % 2 == 0) {
        block_avx512(a, lda, panel, k / 2, row, rows, column, epilogue, tile_pairs_12, tile_pairs_8, tile_pairs_4, tile_pairs_1);
        return;
    }
#endif
    (void)features;
    alignas(64) float tile[12 * kPanel];
    for (long done = 0; done < rows; done += 12) {
        const long count = rows - done < 12 ? rows - done : 12;
        if (type == kBFloat16) tile_portable<BFloat16>(a + done * lda, lda, panel, k, count, tile);
        else tile_portable<float>(a + done * lda, lda, panel, k, count, tile);
        epilogue.rows(row + done, count, column, tile);
    }
}

long panel_bytes(int type, long k) { return type == kBFloat16 ? (k + 1) / 2 * kPanel * 4 : k * kPanel * 4; }

}  // namespace

void round_to_bfloat16(const float* x, void* out, long count) {
    for (long i = 0; i < count; i += kLanes) store_at(static_cast<BFloat16*>(out), load_at(x, i, count), i, count);
}

// weight [n, k] -> packed, (n + 31) / 32 panels of panel_bytes each.
void pack_weights(const float* weight, long n, long k, int type, void* packed) {
    for (long panel = 0; panel < (n + kPanel - 1) / kPanel; panel++) {
        char* target = static_cast<char*>(packed) + panel * panel_bytes(type, k);
        for (long step = 0; step < (type == kBFloat16 ? (k + 1) / 2 * 2 : k); step++)
            for (long c = 0; c < kPanel; c++) {
                const long output = panel * kPanel + c;
                const float value = output < n && step < k ? weight[output * k + step] : 0.0f;
                if (type == kBFloat16) reinterpret_cast<BFloat16*>(target)[(step / 2 * kPanel + c) * 2 + step % 2] = narrow(value);
                else reinterpret_cast<float*>(target)[step * kPanel + c] = value;
            }
    }
}

// out[m, n] (+)= gate * activation(a[m, k] * weightᵀ + bias), out's rows ldOut elements apart, a's rows ldA. A residual adds to
// what out holds. Null bias and gate are zero and one; row i's gate is gate + i / tokens * gateStride.
void packed_matmul(const void* a, int type, long ldA, const void* packed, const float* bias, int activation, const float* gate,
                   long gateStride, long tokens, int residual, void* out, int outType, long ldOut, long m, long n, long k,
                   int features, int threads) {
    const long elementBytes = type == kBFloat16 ? 2 : 4, lda = ldA * elementBytes;
    long blockRows = kBlockBytes / (k * elementBytes) / 96 * 96;
    if (blockRows < 96) blockRows = 96;
    const long panels = (n + kPanel - 1) / kPanel, blocks = (m + blockRows - 1) / blockRows;
    const Epilogue epilogue{bias, activation, gate, gateStride, tokens, residual != 0, out, outType, ldOut, n};
    each(blocks * panels, threads, [&](long task) {
        const long row = task / panels * blockRows, panel = task % panels, rows = m - row < blockRows ? m - row : blockRows;
#ifdef __AVX512F__
        const AmxTiles tiles(type == kBFloat16 && k % 32 == 0 && (features & kAmxBFloat16) != 0);
#endif
        block(static_cast<const char*>(a) + row * lda, type, lda, static_cast<const char*>(packed) + panel * panel_bytes(type, k), k,
              row, rows, panel * kPanel, features, epilogue);
    });
}

}  // namespace MQ_ISA
