// The bfloat16 tile on AMX (Intel's Advanced Matrix Extensions): 32 rows by 32 columns in four accumulator tiles of 16 x 16.
// The packed panel is what TDPBF16PS reads as it is: a row of a B tile is one pair of k for sixteen columns.
#pragma once
#include <cstring>

#include "amx_tiles.h"

namespace MQ_ISA {
namespace {

// a: rows lda bytes apart, k (a multiple of 32) elements in each of the segments, skip bytes between them; panel: [segments][k / 2]
// [32][2]; out: [32, 32]. Rows beyond count are computed from zeros.
inline void amx_tile(const char* a, long lda, const void* panel, long k, long segments, long skip, long count, float* out) {
    const char* b = static_cast<const char*>(panel);
    constexpr long kPanelRow = 128;  // bytes of one pair of k: 32 columns
    alignas(64) char edge[32 * 64];
    amx_zero<0>(); amx_zero<1>(); amx_zero<2>(); amx_zero<3>();
    for (long at = 0; at < segments * k; at += 32) {
        const char* top = a + at * 2 + at / k * skip;
        long stride = lda;
        if (count < 32) {  // a tile load reads sixteen rows: those that are not there must not be touched
            for (long i = 0; i < 32; i++)
                if (i < count) std::memcpy(edge + i * 64, top + i * lda, 64); else std::memset(edge + i * 64, 0, 64);
            top = edge;
            stride = 64;
        }
        amx_load<4>(top, stride);
        amx_load<5>(top + 16 * stride, stride);
        amx_load<6>(b + at / 2 * kPanelRow, kPanelRow);
        amx_load<7>(b + at / 2 * kPanelRow + 64, kPanelRow);
        amx_multiply<0, 4, 6>();
        amx_multiply<1, 4, 7>();
        amx_multiply<2, 5, 6>();
        amx_multiply<3, 5, 7>();
    }
    constexpr long kOutRow = 32 * 4;
    amx_store<0>(out, kOutRow);
    amx_store<1>(out + 16, kOutRow);
    amx_store<2>(out + 16 * 32, kOutRow);
    amx_store<3>(out + 16 * 32 + 16, kOutRow);
}

}  // namespace
}  // namespace MQ_ISA
