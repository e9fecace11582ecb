using System.Runtime.InteropServices;
using TorchSharp;

namespace MetaQuery.Kernels;

/// <summary>
/// Everything besides model and inputs that a bit of a result may depend on. Slots that work on one job must agree on it.
/// </summary>
/// <param name="Libtorch">Version of libtorch, "1.13.0".</param>
/// <param name="CpuCapability">Kernels that libtorch chose: default, avx2 or avx512.</param>
/// <param name="Blas">Kernels that OpenBLAS chose, "SkylakeX"; "other" where libtorch uses another BLAS.</param>
/// <param name="ThreadsPerSlot">Threads that one operator uses.</param>
/// <param name="KernelLevel">Instruction set of our fused kernels: 0 baseline, 1 AVX2, 2 AVX-512.</param>
/// <param name="Bfloat16">How bfloat16 products are computed here: amx, avx512_bf16 or emulated.</param>
public sealed record NumericsSettings(string Libtorch, string CpuCapability, string Blas, int ThreadsPerSlot, int KernelLevel, string Bfloat16)
{
    /// <summary>One line for a manifest. The form is frozen: fields are only ever appended.</summary>
    public override string ToString() =>
        $"libtorch={Libtorch} cpu={CpuCapability} blas={Blas} threads={ThreadsPerSlot} kernels={KernelLevel} bf16={Bfloat16}";
}

/// <summary>Settings of the process that computes, as they took effect.</summary>
public static partial class TorchRuntime
{
    /// <summary>What results depend on, now: <see cref="torch.set_num_threads"/> changes it.</summary>
    public static NumericsSettings Numerics => new(
        torch.__version__,
        CpuCapability,
        BlasKernels,
        torch.get_num_threads(),
        FusedKernels.InstructionLevel,
        Bfloat16Products);

    // What the kernels use. A processor with tiles that they leave alone is named too: libtorch's own products may take them.
    static string Bfloat16Products =>
        RawKernels.Features.HasFlag(KernelFeatures.AmxBFloat16) ? "amx"
        : (RawKernels.Features.HasFlag(KernelFeatures.Avx512BFloat16) ? "avx512_bf16" : "emulated") + (CpuFeatures.HasAmxBf16 ? "_without_amx" : "");

    /// <summary>Libtorch's kernels: the variable decides where it is set, and the loader sets it on AVX-512 processors.</summary>
    public static string CpuCapability
    {
        get
        {
            _ = torch.get_num_threads(); // the loader has run
            return Variable("ATEN_CPU_CAPABILITY") is { Length: > 0 } set ? set : CpuFeatures.HasAvx2 ? "avx2" : "default";
        }
    }

    /// <summary>The kernels that OpenBLAS chose for this processor, or "other".</summary>
    public static unsafe string BlasKernels
    {
        get
        {
            return OpenBlas("openblas_get_corename") is var ask and not 0
                ? Marshal.PtrToStringUTF8(((delegate* unmanaged<nint>)ask)()) ?? "other"
                : "other";
        }
    }

    /// <summary>Threads of OpenBLAS's own pool; 0 where libtorch uses another BLAS.</summary>
    public static unsafe int BlasThreads
    {
        get
        {
            return OpenBlas("openblas_get_num_threads") is var ask and not 0
                ? ((delegate* unmanaged<int>)ask)()
                : 0;
        }
    }

    /// <summary>
    /// Threads that one operator uses, in libtorch and in OpenBLAS, for the whole process. Slots that run side by side want one
    /// each: then the processor's cores are shared out by the slots, not within them.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">Less than one.</exception>
    public static unsafe void SetThreads(int threads)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(threads, 1);
        torch.set_num_threads(threads);
        if (OpenBlas("openblas_set_num_threads") is var set and not 0)
            ((delegate* unmanaged<int, void>)set)(threads);
    }

    /// <summary>Gives the system what was freed and is kept for the next temporaries: after a model's load, and after it is given back.</summary>
    public static void ReturnFreedMemory()
    {
        GC.Collect();
        _ = malloc_trim(0);
    }

    [LibraryImport("libc")]
    private static partial int malloc_trim(nuint pad);

    // Only an OpenBLAS that libtorch has loaded counts: it may be installed beside a libtorch that has another BLAS.
    static nint OpenBlas(string function)
    {
        _ = torch.get_num_threads();
        return File.ReadLines("/proc/self/maps").Any(line => line.Contains("libopenblas", StringComparison.Ordinal))
            && NativeLibrary.TryLoad("libopenblas.so.0", out var library)
            && NativeLibrary.TryGetExport(library, function, out var address) ? address : 0;
    }

    // .NET keeps its own copy of the environment; native code wrote into the process's.
    static string? Variable(string name) => Marshal.PtrToStringUTF8(getenv(name));

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint getenv(string name);
}
