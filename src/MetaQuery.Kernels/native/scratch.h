// A thread's working memory.
#pragma once
#include <cstddef>
#include <cstdlib>

namespace MQ_ISA {
namespace {

// Grows and never shrinks: a slot's thread asks for the same sizes in every step.
struct Scratch {
    float* data = nullptr; size_t size = 0;
    float* take(size_t floats) {
        if (floats > size) {
            std::free(data);
            data = static_cast<float*>(std::aligned_alloc(64, (floats * sizeof(float) + 63) / 64 * 64));
            if (data == nullptr) std::abort();  // out of memory inside a kernel: there is nobody to tell
            size = floats;
        }
        return data;
    }
    ~Scratch() { std::free(data); }
};
thread_local Scratch scratch;

}  // namespace
}  // namespace MQ_ISA
