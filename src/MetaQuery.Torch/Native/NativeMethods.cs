using System.Runtime.InteropServices;

namespace TorchSharp.Native;

/// <summary>The C interface of native/shim.h, declared as blittable P/Invokes.</summary>
internal static unsafe partial class NativeMethods
{
    const string Torch = NativeLibraries.Torch;

    static NativeMethods() => NativeLibraries.Register();

    [LibraryImport(NativeLibraries.Boot, EntryPoint = "mq_cpu_features")] internal static partial int CpuFeatures();
    [LibraryImport(NativeLibraries.Boot, EntryPoint = "mq_getenv", StringMarshalling = StringMarshalling.Utf8)] internal static partial nint GetEnv(string name);

    [LibraryImport(Torch, EntryPoint = "mq_operator", StringMarshalling = StringMarshalling.Utf8)] internal static partial nint Operator(string name, string overload);
    [LibraryImport(Torch, EntryPoint = "mq_has_operator", StringMarshalling = StringMarshalling.Utf8)] internal static partial int HasOperator(string name, string overload);
    [LibraryImport(Torch, EntryPoint = "mq_call")] internal static partial int Call(nint op, NativeValue* arguments, int count, NativeValue* results, int room);
    [LibraryImport(Torch, EntryPoint = "mq_results")] internal static partial void Results(NativeValue* results);
    [LibraryImport(Torch, EntryPoint = "mq_last_error")] internal static partial int LastError(byte** message);

    [LibraryImport(Torch, EntryPoint = "mq_tensor_free")] internal static partial void TensorFree(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_alias")] internal static partial nint TensorAlias(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_ndim")] internal static partial int TensorDimensions(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_numel")] internal static partial long TensorElements(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_dtype")] internal static partial int TensorDtype(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_element_size")] internal static partial long TensorElementSize(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_device")] internal static partial long TensorDevice(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_sizes")] internal static partial void TensorSizes(nint tensor, long* sizes);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_strides")] internal static partial int TensorStrides(nint tensor, long* strides);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_is_contiguous")] internal static partial int TensorIsContiguous(nint tensor, int memoryFormat);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_data")] internal static partial nint TensorData(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_storage_offset")] internal static partial long TensorStorageOffset(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_is_leaf")] internal static partial int TensorIsLeaf(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_requires_grad")] internal static partial int TensorRequiresGrad(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_set_requires_grad")] internal static partial int TensorSetRequiresGrad(nint tensor, int value);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_retain_grad")] internal static partial int TensorRetainGrad(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_grad")] internal static partial nint TensorGrad(nint tensor);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_set_grad")] internal static partial int TensorSetGrad(nint tensor, nint grad);
    [LibraryImport(Torch, EntryPoint = "mq_tensor_from_blob")] internal static partial nint TensorFromBlob(void* data, long* sizes, int dimensions, long* strides, int dtype, long device, delegate* unmanaged<void*, void> release, void* context);

    [LibraryImport(Torch, EntryPoint = "mq_backward")] internal static partial int Backward(nint* tensors, int count, nint* gradients, int gradientCount, int retainGraph, int createGraph, nint* inputs, int inputCount);
    [LibraryImport(Torch, EntryPoint = "mq_gradients")] internal static partial int Gradients(nint* outputs, int count, nint* inputs, int inputCount, nint* gradients, int gradientCount, int retainGraph, int createGraph, int allowUnused, nint* results);

    [LibraryImport(Torch, EntryPoint = "mq_generator_new")] internal static partial nint GeneratorNew(long seed, long device);
    [LibraryImport(Torch, EntryPoint = "mq_generator_default")] internal static partial nint GeneratorDefault(long device);
    [LibraryImport(Torch, EntryPoint = "mq_generator_free")] internal static partial void GeneratorFree(nint generator);
    [LibraryImport(Torch, EntryPoint = "mq_generator_set_seed")] internal static partial int GeneratorSetSeed(nint generator, long seed);
    [LibraryImport(Torch, EntryPoint = "mq_generator_seed")] internal static partial int GeneratorSeed(nint generator, long* seed, int fresh);
    [LibraryImport(Torch, EntryPoint = "mq_generator_get_state")] internal static partial nint GeneratorGetState(nint generator);
    [LibraryImport(Torch, EntryPoint = "mq_generator_set_state")] internal static partial int GeneratorSetState(nint generator, nint state);

    [LibraryImport(Torch, EntryPoint = "mq_grad_enabled")] internal static partial int GradEnabled();
    [LibraryImport(Torch, EntryPoint = "mq_set_grad_enabled")] internal static partial void SetGradEnabled(int enabled);
    [LibraryImport(Torch, EntryPoint = "mq_inference_enabled")] internal static partial int InferenceEnabled();
    [LibraryImport(Torch, EntryPoint = "mq_inference_enter")] internal static partial nint InferenceEnter(int enabled);
    [LibraryImport(Torch, EntryPoint = "mq_inference_leave")] internal static partial void InferenceLeave(nint mode);
    [LibraryImport(Torch, EntryPoint = "mq_get_num_threads")] internal static partial int GetNumThreads();
    [LibraryImport(Torch, EntryPoint = "mq_set_num_threads")] internal static partial int SetNumThreads(int count);
    [LibraryImport(Torch, EntryPoint = "mq_cuda_devices")] internal static partial int CudaDevices();
    [LibraryImport(Torch, EntryPoint = "mq_torch_version")] internal static partial nint TorchVersion();
    [LibraryImport(Torch, EntryPoint = "mq_benchmark_add")] internal static partial double BenchmarkAdd(nint left, nint right, long iterations);
}
