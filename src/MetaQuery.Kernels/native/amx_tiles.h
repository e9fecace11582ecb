// AMX's tile instructions, or with MQ_EMULATE_AMX the same in plain C++, so that the code that uses them can be checked on a CPU
// without AMX. All eight tiles are 16 rows of 64 bytes.
#pragma once
#include <cstdint>
#include <cstring>

namespace MQ_ISA {
namespace {

#ifdef MQ_EMULATE_AMX

struct EmulatedTile { uint32_t word[16][16]; };
inline thread_local EmulatedTile emulated[8];

template <int T> void amx_zero() { std::memset(&emulated[T], 0, sizeof(EmulatedTile)); }
template <int T> void amx_load(const void* p, long stride) {
    for (int r = 0; r < 16; r++) std::memcpy(emulated[T].word[r], static_cast<const char*>(p) + r * stride, 64);
}
template <int T> void amx_store(void* p, long stride) {
    for (int r = 0; r < 16; r++) std::memcpy(static_cast<char*>(p) + r * stride, emulated[T].word[r], 64);
}
// TDPBF16PS of Intel's manual: for each row m, pair k, column n: dst[m][n] += low(a) * low(b), then += high(a) * high(b).
template <int C, int A, int B> void amx_multiply() {
    auto value = [](uint32_t bits) { float f; std::memcpy(&f, &bits, 4); return f; };
    for (int m = 0; m < 16; m++)
        for (int k = 0; k < 16; k++)
            for (int n = 0; n < 16; n++) {
                const uint32_t a = emulated[A].word[m][k], b = emulated[B].word[k][n];
                float c = value(emulated[C].word[m][n]);
                c += value(a << 16) * value(b << 16);
                c += value(a & 0xffff0000u) * value(b & 0xffff0000u);
                std::memcpy(&emulated[C].word[m][n], &c, 4);
            }
}
struct AmxTiles { explicit AmxTiles(bool) {} };

#else

template <int T> inline void amx_zero() { asm volatile("tilezero %%tmm%c0" ::"i"(T)); }
template <int T> inline void amx_load(const void* p, long stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
template <int T> inline void amx_store(void* p, long stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(stride), "i"(T) : "memory");
}
template <int C, int A, int B> inline void amx_multiply() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

// Configures the tiles of this thread while it lives; the tiles are released so that other code's context switches stay cheap.
struct AmxTiles {
    struct alignas(64) Configuration { uint8_t palette = 1, start = 0, reserved[14] = {}; uint16_t rowBytes[16] = {}; uint8_t rows[16] = {}; };
    const bool used;
    explicit AmxTiles(bool use) : used(use) {
        if (!used) return;
        Configuration configuration;
        for (int i = 0; i < 8; i++) { configuration.rowBytes[i] = 64; configuration.rows[i] = 16; }
        asm volatile("ldtilecfg %0" ::"m"(configuration));
    }
    ~AmxTiles() { if (used) asm volatile("tilerelease"); }
};

#endif

}  // namespace
}  // namespace MQ_ISA
