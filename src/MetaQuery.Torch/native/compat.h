// What differs between libtorch 1.13 and 2.x, and nothing else.
#pragma once
#include <ATen/Context.h>
#include <ATen/core/jit_type.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <optional>
#if __has_include(<torch/version.h>)
#include <torch/version.h>
#elif __has_include(<torch/csrc/api/include/torch/version.h>)
#include <torch/csrc/api/include/torch/version.h>
#endif

// c10::Allocator::allocate lost its const in 2.3, and copy_data joined it.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 3)
#define MQ_ALLOCATE_CONST
#define MQ_COPY_DATA void copy_data(void* to, const void* from, std::size_t bytes) const override { default_copy_data(to, from, bytes); }
#else
#define MQ_ALLOCATE_CONST const
#define MQ_COPY_DATA
#endif

namespace mq {

// 2.4 replaced c10::optional by the standard one.
#if TORCH_VERSION_MAJOR > 2 || (TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR >= 4)
template <class T> using optional = std::optional<T>;
#else
template <class T> using optional = c10::optional<T>;
#endif

inline const char* version() { return TORCH_VERSION; }

// 1.13 states scalar types, layouts and memory formats as int in an operator's schema; 2.x has a kind for each.
inline bool is_integer(c10::TypeKind kind)
{
    return kind == c10::TypeKind::IntType || kind == c10::TypeKind::SymIntType || kind == c10::TypeKind::ScalarTypeType
        || kind == c10::TypeKind::LayoutType || kind == c10::TypeKind::MemoryFormatType;
}

inline int cuda_devices() { return at::globalContext().hasCUDA() ? at::detail::getCUDAHooks().getNumGPUs() : 0; }

} // namespace mq
