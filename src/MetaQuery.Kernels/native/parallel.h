// One loop over independent tasks, on the caller's thread or on OpenMP's.
#pragma once

namespace MQ_ISA {
namespace {

template <class Body> void each(long count, int threads, Body body) {
    if (threads <= 1 || count <= 1) {
        for (long i = 0; i < count; i++) body(i);
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long i = 0; i < count; i++) body(i);
}

}  // namespace
}  // namespace MQ_ISA
