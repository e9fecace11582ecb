// Direct entries: what no operator answers (properties, external memory, generators, modes), and what is asked most often.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/ops/from_blob.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <atomic>
#include <chrono>
#include "compat.h"
#include "errors.h"
#include "handles.h"
#include "shim.h"

using mq::borrow;
using mq::guard;

namespace {

// Reads a property without touching the reference count.
c10::TensorImpl* peek(void* handle) { return (c10::TensorImpl*)handle; }

} // namespace

MQ_API void mq_tensor_free(void* handle)
{
    guard(0, [&] { c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>::reclaim(peek(handle)); return 0; });
}

MQ_API void* mq_tensor_alias(void* handle) { return mq::release(borrow(handle)); }

MQ_API int mq_tensor_ndim(void* handle) { return (int)peek(handle)->dim(); }
MQ_API int64_t mq_tensor_numel(void* handle) { return peek(handle)->numel(); }
MQ_API int mq_tensor_dtype(void* handle) { return (int)c10::typeMetaToScalarType(peek(handle)->dtype()); }
MQ_API int64_t mq_tensor_element_size(void* handle) { return (int64_t)peek(handle)->dtype().itemsize(); }

MQ_API int64_t mq_tensor_device(void* handle)
{
    auto device = peek(handle)->device();
    return (int64_t)device.type() | ((int64_t)(device.index() + 1) << 8);
}

MQ_API void mq_tensor_sizes(void* handle, int64_t* sizes) { auto s = peek(handle)->sizes(); std::copy(s.begin(), s.end(), sizes); }

MQ_API int mq_tensor_strides(void* handle, int64_t* strides)
{
    return guard(-1, [&] { auto s = peek(handle)->strides(); std::copy(s.begin(), s.end(), strides); return 0; });
}

MQ_API int mq_tensor_is_contiguous(void* handle, int memory_format)
{
    return guard(-1, [&] { return peek(handle)->is_contiguous((c10::MemoryFormat)memory_format) ? 1 : 0; });
}

MQ_API void* mq_tensor_data(void* handle)
{
    return guard((void*)nullptr, [&] { return borrow(handle).data_ptr(); });
}

MQ_API int64_t mq_tensor_storage_offset(void* handle)
{
    return guard((int64_t)-1, [&] { return (int64_t)peek(handle)->storage_offset(); });
}

MQ_API int mq_tensor_is_leaf(void* handle) { return guard(-1, [&] { return borrow(handle).is_leaf() ? 1 : 0; }); }
MQ_API int mq_tensor_requires_grad(void* handle) { return guard(-1, [&] { return borrow(handle).requires_grad() ? 1 : 0; }); }

MQ_API int mq_tensor_set_requires_grad(void* handle, int value)
{
    return guard(-1, [&] { borrow(handle).set_requires_grad(value != 0); return 0; });
}

MQ_API int mq_tensor_retain_grad(void* handle) { return guard(-1, [&] { borrow(handle).retain_grad(); return 0; }); }

// A null result with no error kind is "no gradient".
MQ_API void* mq_tensor_grad(void* handle)
{
    mq::last_kind = 0;
    return guard((void*)nullptr, [&] { return mq::release(borrow(handle).grad()); });
}

MQ_API int mq_tensor_set_grad(void* handle, void* grad)
{
    return guard(-1, [&] { borrow(handle).mutable_grad() = borrow(grad); return 0; });
}

// A tensor over memory that somebody else owns; `release(context)` runs when the last tensor over it is gone.
MQ_API void* mq_tensor_from_blob(void* data, const int64_t* sizes, int ndim, const int64_t* strides, int dtype, int64_t device,
    void (*release)(void*), void* context)
{
    return guard((void*)nullptr, [&] {
        auto options = c10::TensorOptions().dtype((c10::ScalarType)dtype).device(mq::device_of(device));
        c10::IntArrayRef shape(sizes, ndim);
        auto deleter = [release, context](void*) { if (release) release(context); };
        return mq::release(strides ? at::from_blob(data, shape, {strides, (size_t)ndim}, deleter, options)
                                   : at::from_blob(data, shape, deleter, options));
    });
}

// Generators: a handle is an owned c10::GeneratorImpl*.
MQ_API void* mq_generator_new(int64_t seed, int64_t device)
{
    return guard((void*)nullptr, [&]() -> void* {
        auto where = mq::device_of(device);
        auto generator = where.is_cpu() ? at::make_generator<at::CPUGeneratorImpl>((uint64_t)seed)
                                        : at::globalContext().defaultGenerator(where).clone();
        generator.set_current_seed((uint64_t)seed);
        return generator.unsafeReleaseGeneratorImpl();
    });
}

MQ_API void* mq_generator_default(int64_t device)
{
    return guard((void*)nullptr, [&]() -> void* {
        auto generator = at::globalContext().defaultGenerator(mq::device_of(device));
        return generator.unsafeReleaseGeneratorImpl();
    });
}

namespace {
at::Generator borrow_generator(void* handle)
{
    return at::Generator(c10::intrusive_ptr<c10::GeneratorImpl>::reclaim_copy((c10::GeneratorImpl*)handle));
}
} // namespace

MQ_API void mq_generator_free(void* handle) { c10::intrusive_ptr<c10::GeneratorImpl>::reclaim((c10::GeneratorImpl*)handle); }

MQ_API int mq_generator_set_seed(void* handle, int64_t seed)
{
    return guard(-1, [&] {
        auto generator = borrow_generator(handle);
        std::lock_guard<std::mutex> lock(generator.mutex());
        generator.set_current_seed((uint64_t)seed);
        return 0;
    });
}

MQ_API int mq_generator_seed(void* handle, int64_t* seed, int fresh)
{
    return guard(-1, [&] {
        auto generator = borrow_generator(handle);
        std::lock_guard<std::mutex> lock(generator.mutex());
        *seed = (int64_t)(fresh ? generator.seed() : generator.current_seed());
        return 0;
    });
}

MQ_API void* mq_generator_get_state(void* handle)
{
    return guard((void*)nullptr, [&] { return mq::release(borrow_generator(handle).get_state()); });
}

MQ_API int mq_generator_set_state(void* handle, void* state)
{
    return guard(-1, [&] { borrow_generator(handle).set_state(borrow(state)); return 0; });
}

// Modes belong to the calling thread.
MQ_API int mq_grad_enabled() { return c10::GradMode::is_enabled(); }
MQ_API void mq_set_grad_enabled(int enabled) { c10::GradMode::set_enabled(enabled != 0); }
MQ_API int mq_inference_enabled() { return c10::InferenceMode::is_enabled(); }
MQ_API void* mq_inference_enter(int enabled) { return new c10::InferenceMode(enabled != 0); }
MQ_API void mq_inference_leave(void* mode) { delete (c10::InferenceMode*)mode; }

MQ_API int mq_get_num_threads() { return at::get_num_threads(); }
MQ_API int mq_set_num_threads(int count) { return guard(-1, [&] { at::set_num_threads(count); return 0; }); }
MQ_API int mq_cuda_devices() { return guard(0, [] { return mq::cuda_devices(); }); }
MQ_API const char* mq_torch_version() { return mq::version(); }

// libtorch's own cost of a small addition, for the benchmark of the binding: nanoseconds per call, unboxed, no managed code.
MQ_API double mq_benchmark_add(void* left, void* right, int64_t iterations)
{
    return guard(-1.0, [&] {
        auto add = c10::Dispatcher::singleton().findSchemaOrThrow("aten::add", "Tensor")
                       .typed<at::Tensor(const at::Tensor&, const at::Tensor&, const at::Scalar&)>();
        auto a = borrow(left), b = borrow(right);
        auto start = std::chrono::steady_clock::now();
        for (int64_t i = 0; i < iterations; i++) add.call(a, b, 1);
        std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - start;
        return spent.count() / (double)iterations;
    });
}
