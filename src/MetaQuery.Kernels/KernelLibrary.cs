using System.Runtime.InteropServices;

namespace MetaQuery.Kernels;

/// <summary>The native library of fused kernels (native/kernels.h), loaded on first use.</summary>
internal static unsafe class KernelLibrary
{
    const string FileName = "libmetaquery_kernels.so";
    static readonly nint Handle = Load();

    /// <summary>0 baseline, 1 AVX2 with FMA, 2 AVX-512: part of the numerics fingerprint.</summary>
    public static int Level { get; } = ((delegate* unmanaged<int>)NativeLibrary.GetExport(Handle, "mq_kernel_level"))();

    /// <summary>What bfloat16 matrix products may use; <c>METAQUERY_AMX=0</c> leaves AMX's tiles alone.</summary>
    public static KernelFeatures Features { get; } =
        (KernelFeatures)((delegate* unmanaged<int>)NativeLibrary.GetExport(Handle, "mq_kernel_features"))()
        & (Environment.GetEnvironmentVariable("METAQUERY_AMX") == "0" ? ~KernelFeatures.AmxBFloat16 : ~KernelFeatures.None);

    /// <summary>The address of a kernel by its name in native/kernels.h.</summary>
    /// <exception cref="EntryPointNotFoundException">The library is older than this assembly.</exception>
    public static nint Address(string name)
    {
        var find = (delegate* unmanaged<byte*, nint>)NativeLibrary.GetExport(Handle, "mq_kernel");
        var utf8 = Marshal.StringToCoTaskMemUTF8(name);
        try
        {
            var address = find((byte*)utf8);
            return address != 0 ? address : throw new EntryPointNotFoundException($"{FileName} has no kernel '{name}': rebuild it with ./farm build");
        }
        finally { Marshal.FreeCoTaskMem(utf8); }
    }

    static nint Load()
    {
        // The boot settings of MetaQuery.Torch must stand before the kernels bring OpenMP with them.
        _ = TorchSharp.torch.get_num_threads();
        return NativeLibrary.Load(Find());
    }

    static string Find()
    {
        if (Environment.GetEnvironmentVariable("METAQUERY_NATIVE") is { Length: > 0 } named) return Path.Combine(named, FileName);
        if (File.Exists(Path.Combine(AppContext.BaseDirectory, FileName))) return Path.Combine(AppContext.BaseDirectory, FileName);
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var built = Path.Combine(folder.FullName, ".farm", "native", "kernels", FileName);
            if (File.Exists(built)) return built;
        }
        throw new DllNotFoundException($"{FileName} was not found beside the program nor in .farm/native/kernels; build it with ./farm build");
    }
}
