// Chooses the instruction set when the library is loaded; ATEN_CPU_CAPABILITY (libtorch's own variable: default, avx2,
// avx512) lowers it, so that one setting decides for libtorch and for these kernels.
#include "kernels.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#define DECLARE(name, arguments) void name arguments;
namespace baseline { MQ_KERNELS(DECLARE) }
namespace avx2 { MQ_KERNELS(DECLARE) }
namespace avx512 { MQ_KERNELS(DECLARE) }
#undef DECLARE

namespace {

int choose() {
    __builtin_cpu_init();
    int best = 0;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) best = 1;
    if (best == 1 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) best = 2;
    const char* asked = std::getenv("ATEN_CPU_CAPABILITY");
    if (asked != nullptr) {
        if (std::strcmp(asked, "default") == 0) best = 0;
        if (std::strcmp(asked, "avx2") == 0 && best > 1) best = 1;
    }
    return best;
}

const int chosen = choose();

int find_features() {
    if (chosen < 2) return 0;
    int found = 0;
    unsigned a, b, c, d;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 5 & 1)) found |= kAvx512BFloat16;
    // AMX-BF16 and AMX-TILE; then Linux has to be asked for the tiles' registers (arch_prctl, since 5.16).
    constexpr long kRequestPermission = 0x1023, kTileData = 18;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d) && (d >> 22 & 1) && (d >> 24 & 1) &&
        syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0) found |= kAmxBFloat16;
    return found;
}

// AMX has to agree with the portable product on this machine before anything relies on it: sums of 64 products of numbers below 1
// in another order differ by less than 64 roundings of 2^-24 of at most 16.
int checked_features() {
    const int found = find_features();
    if ((found & kAmxBFloat16) == 0) return found;
    constexpr long m = 40, n = 40, k = 64;
    static float weight[n * k], x[m * k], expected[m * n], actual[m * n];
    static unsigned short packed[64 * k], rounded[m * k];
    for (long i = 0; i < n * k; i++) weight[i] = static_cast<float>(i * 37 % 101 - 50) / 64;
    for (long i = 0; i < m * k; i++) x[i] = static_cast<float>(i * 53 % 97 - 48) / 64;
    avx512::round_to_bfloat16(x, rounded, m * k);
    avx512::pack_weights(weight, kFloat32, n, 1, k, kBFloat16, packed);
    avx512::packed_matmul(rounded, kBFloat16, k, packed, nullptr, kNone, nullptr, 0, 1, 0, expected, kFloat32, n, m, n, k, 0, 1);
    avx512::packed_matmul(rounded, kBFloat16, k, packed, nullptr, kNone, nullptr, 0, 1, 0, actual, kFloat32, n, m, n, k, kAmxBFloat16, 1);
    for (long i = 0; i < m * n; i++) {
        const float difference = expected[i] - actual[i];
        if (!(difference < 1e-4f && difference > -1e-4f)) return found & ~kAmxBFloat16;
    }
    return found;
}

const int features = checked_features();

}  // namespace

extern "C" {

// 0 baseline (x86-64), 1 AVX2 with FMA, 2 AVX-512.
__attribute__((visibility("default"))) int mq_kernel_level() { return chosen; }

// The bfloat16 features (kernels.h) that this CPU has and the operating system lets this process use.
__attribute__((visibility("default"))) int mq_kernel_features() { return features; }

// The address of a kernel by its name in kernels.h, null if there is none.
__attribute__((visibility("default"))) void* mq_kernel(const char* name) {
#define LOOK_UP(kernel, arguments)                                                                                  \
    if (std::strcmp(name, #kernel) == 0)                                                                            \
        return reinterpret_cast<void*>(chosen == 2 ? avx512::kernel : chosen == 1 ? avx2::kernel : baseline::kernel);
    MQ_KERNELS(LOOK_UP)
#undef LOOK_UP
    return nullptr;
}

}
