#pragma once
#include <ATen/core/Tensor.h>

namespace mq {

// A tensor that shares a handle's ownership for the length of a call.
inline at::Tensor borrow(void* handle)
{
    if (!handle) return at::Tensor();
    return at::Tensor(c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim_copy((c10::TensorImpl*)handle));
}

// A new handle; an undefined tensor has none.
inline void* release(at::Tensor tensor) { return tensor.defined() ? tensor.unsafeReleaseTensorImpl() : nullptr; }

inline c10::Device device_of(int64_t packed)
{
    return c10::Device((c10::DeviceType)(packed & 0xff), (c10::DeviceIndex)((packed >> 8) - 1));
}

} // namespace mq
