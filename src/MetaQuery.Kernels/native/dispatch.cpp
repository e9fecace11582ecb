// Chooses the instruction set when the library is loaded; ATEN_CPU_CAPABILITY (libtorch's own variable: default, avx2,
// avx512) lowers it, so that one setting decides for libtorch and for these kernels.
#include "kernels.h"

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

}  // namespace

extern "C" {

// 0 baseline (x86-64), 1 AVX2 with FMA, 2 AVX-512.
__attribute__((visibility("default"))) int mq_kernel_level() { return chosen; }

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
