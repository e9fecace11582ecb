using System.Runtime.InteropServices;
using TorchSharp.Native;

namespace TorchSharp;

/// <summary>
/// Tensors over memory that libtorch does not own. TorchSharp has no such public entry, so callers outside MetaQuery.Kernels
/// should go through that room, which hides the difference.
/// </summary>
public static class ExternalMemory
{
    /// <param name="address">First element, in the processor's memory, aligned to the element size.</param>
    /// <param name="shape">Sizes; the elements lie in row-major order without gaps.</param>
    /// <param name="dtype">Element type.</param>
    /// <param name="release">Runs once, on any thread, when the last tensor over this memory is gone.</param>
    public static unsafe torch.Tensor Tensor(nint address, long[] shape, torch.ScalarType dtype, Action release)
    {
        var context = GCHandle.Alloc(release);
        nint handle;
        fixed (long* sizes = shape)
            handle = NativeMethods.TensorFromBlob((void*)address, sizes, shape.Length, null, (int)dtype, torch.CPU.Packed, &Release, (void*)GCHandle.ToIntPtr(context));
        if (handle != 0) return new torch.Tensor(handle);
        context.Free();
        throw TorchException.Last();
    }

    [UnmanagedCallersOnly]
    static unsafe void Release(void* context)
    {
        var handle = GCHandle.FromIntPtr((nint)context);
        var release = (Action)handle.Target!;
        handle.Free();
        release();
    }
}
