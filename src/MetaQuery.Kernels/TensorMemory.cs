using System.Runtime.InteropServices;
using TorchSharp;

namespace MetaQuery.Kernels;

/// <summary>A tensor over memory of ours: the one place that differs between MetaQuery.Torch and TorchSharp.</summary>
internal static class TensorMemory
{
#if TENSORS_TORCHSHARP
    delegate void Deleter(nint memory);

    [DllImport("LibTorchSharp")]
    static extern unsafe nint THSTensor_new(nint data, Deleter deleter, long* sizes, int dimensions, sbyte type, sbyte dtype,
        int deviceType, int deviceIndex, [MarshalAs(UnmanagedType.U1)] bool requiresGrad);

    // A delegate must outlive the tensor that calls it.
    static readonly System.Collections.Concurrent.ConcurrentDictionary<Deleter, Action> Alive = new();

    public static unsafe torch.Tensor Wrap(nint address, long[] shape, torch.ScalarType dtype, Action release)
    {
        _ = torch.CPU; // loads TorchSharp's native library
        Deleter? deleter = null;
        deleter = _ =>
        {
            if (Alive.TryRemove(deleter!, out var action)) action();
        };
        Alive[deleter] = release;
        fixed (long* sizes = shape)
        {
            var handle = THSTensor_new(address, deleter, sizes, shape.Length, (sbyte)dtype, (sbyte)dtype, (int)DeviceType.CPU, -1, false);
            if (handle == 0)
            {
                Alive.TryRemove(deleter, out _);
                torch.CheckForErrors();
            }
            return torch.Tensor.UnsafeCreateTensor(handle);
        }
    }
#else
    public static torch.Tensor Wrap(nint address, long[] shape, torch.ScalarType dtype, Action release) =>
        ExternalMemory.Tensor(address, shape, dtype, release);
#endif
}
