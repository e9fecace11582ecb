using System.Runtime.InteropServices;
using TorchSharp.Native;

namespace TorchSharp;

/// <summary>What kind of failure libtorch reported.</summary>
public enum TorchError
{
    General = 1,
    Index,
    Value,
    Type,
    NotImplemented,
    OutOfMemory,
    LinearAlgebra,
}

/// <summary>
/// libtorch refused a call. The message is the first line of libtorch's own, without its C++ backtrace.
/// (TorchSharp throws <see cref="ExternalException"/>, from which this derives.)
/// </summary>
public sealed class TorchException(string message, TorchError error = TorchError.General) : ExternalException(message)
{
    public TorchError Error { get; } = error;

    /// <summary>True when the same call may succeed later: memory was exhausted.</summary>
    public bool IsTransient => Error == TorchError.OutOfMemory;

    internal static unsafe TorchException Last()
    {
        byte* message;
        var kind = NativeMethods.LastError(&message);
        return new TorchException(Marshal.PtrToStringUTF8((nint)message) ?? "unknown error", (TorchError)kind);
    }
}
