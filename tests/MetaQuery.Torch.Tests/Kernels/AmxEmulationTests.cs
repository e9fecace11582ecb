using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using MetaQuery.Kernels;
using MetaQuery.TestKit;

namespace MetaQuery.Torch.Tests.Kernels;

/// <summary>
/// The matrix product for AMX on a processor without AMX: native/matmul.cpp compiled with its tile instructions written out in
/// plain C++ (native/amx_tiles.h). What stays untested is that the processor does what Intel's manual says.
/// </summary>
[LeakCheck]
public sealed unsafe class AmxEmulationTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("amx-");

    public void Dispose() => _folder.Delete(recursive: true);

    // A product of two bfloat16 is exact in float32 and both ways add along K in order, so not a bit may differ.
    [AmxEmulationFact]
    public void Tiles_give_the_bits_of_the_portable_product()
    {
        var library = NativeLibrary.Load(Compile());
        var pack = (delegate* unmanaged<float*, nint, nint, int, void*, void>)NativeLibrary.GetExport(library, "pack");
        var multiply = (delegate* unmanaged<void*, nint, void*, float*, float*, nint, nint, nint, nint, int, void>)NativeLibrary.GetExport(library, "multiply");
        foreach (var (rows, outputs, inputs) in new[] { (1, 1, 32), (31, 33, 64), (32, 32, 32), (33, 70, 96), (97, 45, 320), (200, 5, 1024) })
        {
            var random = new Random(rows);
            float[] weights = [.. Enumerable.Range(0, outputs * inputs).Select(_ => random.NextSingle() - 0.5f)];
            ushort[] input = [.. Enumerable.Range(0, rows * inputs).Select(_ => (ushort)(BitConverter.SingleToUInt32Bits(random.NextSingle() - 0.5f) >> 16))];
            float[] bias = [.. Enumerable.Range(0, outputs).Select(_ => random.NextSingle())];
            var (byTiles, portable) = (new float[rows * outputs], new float[rows * outputs]);
            using var packed = new NativeBuffer((outputs + 31) / 32 * 32 * inputs * sizeof(ushort));
            fixed (float* w = weights, b = bias, tiles = byTiles, plain = portable)
            fixed (ushort* x = input)
            {
                pack(w, outputs, inputs, (int)KernelType.BFloat16, packed.Pointer);
                multiply(x, inputs, packed.Pointer, b, tiles, outputs, rows, outputs, inputs, (int)KernelFeatures.AmxBFloat16);
                multiply(x, inputs, packed.Pointer, b, plain, outputs, rows, outputs, inputs, (int)KernelFeatures.None);
            }

            Assert.Equal(portable, byTiles);
            Assert.Contains(byTiles, value => value != 0);
        }
    }

    // Rows of taps lie apart: the tiles take one segment after the other.
    [AmxEmulationFact]
    public void Tiles_give_the_bits_of_the_portable_convolution()
    {
        var library = NativeLibrary.Load(Compile());
        var pack = (delegate* unmanaged<float*, nint, nint, nint, int, void*, void>)NativeLibrary.GetExport(library, "pack_segments");
        var convolve = (delegate* unmanaged<void*, nint, nint, nint, void*, float*, nint, nint, nint, int, void>)NativeLibrary.GetExport(library, "convolve");
        foreach (var (height, width, channels, taps, outputs) in new[] { (1, 1, 32, 3, 1), (5, 33, 32, 3, 45), (3, 70, 16, 2, 33), (40, 9, 64, 2, 7) })
        {
            var random = new Random(height);
            float[] weights = [.. Enumerable.Range(0, outputs * taps * taps * channels).Select(_ => random.NextSingle() - 0.5f)];
            ushort[] padded = [.. Enumerable.Range(0, (height + 2) * (width + 2) * channels).Select(_ => (ushort)(BitConverter.SingleToUInt32Bits(random.NextSingle() - 0.5f) >> 16))];
            var (byTiles, portable) = (new float[height * width * outputs], new float[height * width * outputs]);
            using var packed = new NativeBuffer((outputs + 31) / 32 * 32L * taps * taps * channels * sizeof(ushort));
            fixed (float* w = weights, tiles = byTiles, plain = portable)
            fixed (ushort* x = padded)
            {
                pack(w, outputs, taps, taps * channels, (int)KernelType.BFloat16, packed.Pointer);
                convolve(x, width + 2, channels, taps, packed.Pointer, tiles, height, width, outputs, (int)KernelFeatures.AmxBFloat16);
                convolve(x, width + 2, channels, taps, packed.Pointer, plain, height, width, outputs, (int)KernelFeatures.None);
            }

            Assert.Equal(portable, byTiles);
            Assert.Contains(byTiles, value => value != 0);
        }
    }

    private string Compile()
    {
        var native = Path.Combine(RepositoryFolders.Root, "src", "MetaQuery.Kernels", "native");
        var library = Path.Combine(_folder.FullName, "libamx.so");
        string[] arguments =
        [
            "-std=c++17", "-O1", "-fPIC", "-shared", "-march=skylake-avx512", "-Wno-psabi", "-fvisibility=hidden", "-DMQ_ISA=emulated_amx", "-DMQ_EMULATE_AMX",
            "-I", native, "-x", "c++", "-", "-o", library,
        ];
        using var compiler = Process.Start(new ProcessStartInfo(AmxEmulationFactAttribute.Compiler, arguments)
        {
            RedirectStandardInput = true, RedirectStandardError = true,
        })!;
        compiler.StandardInput.Write("""
            #include "matmul.cpp"
            #define ENTRY extern "C" __attribute__((visibility("default"))) void
            ENTRY pack(const float* weight, long n, long k, int type, void* packed) { MQ_ISA::pack_weights(weight, n, 1, k, type, packed); }
            ENTRY multiply(const void* a, long lda, const void* packed, const float* bias, float* out, long ldOut, long m, long n, long k, int features) {
                MQ_ISA::packed_matmul(a, kBFloat16, lda, packed, bias, kNone, nullptr, 0, 1, 0, out, kFloat32, ldOut, m, n, k, features, 1);
            }
            ENTRY pack_segments(const float* weight, long n, long segments, long k, int type, void* packed) { MQ_ISA::pack_weights(weight, n, segments, k, type, packed); }
            ENTRY convolve(const void* padded, long rowPixels, long channels, long taps, const void* packed, float* out, long height, long width, long n, int features) {
                MQ_ISA::packed_convolution(padded, kBFloat16, rowPixels, channels, taps, 0, 0, packed, nullptr, kNone, 0, out, kFloat32, width * n, n, height, width, n, features, 1);
            }
            """);
        compiler.StandardInput.Close();
        var errors = compiler.StandardError.ReadToEnd();
        compiler.WaitForExit();
        Assert.True(compiler.ExitCode == 0, errors);
        return library;
    }
}

/// <summary>Skipped by name without AVX-512, which the code around the tiles needs, or without a compiler.</summary>
public sealed class AmxEmulationFactAttribute : FactAttribute
{
    public AmxEmulationFactAttribute() => Skip = RawKernels.Level < 2 ? "the processor has no AVX-512" : HasCompiler() ? null : $"there is no {Compiler} here";

    internal static string Compiler => Environment.GetEnvironmentVariable("CXX") is { Length: > 0 } named ? named : "g++";

    private static bool HasCompiler()
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(Compiler, ["--version"]) { RedirectStandardOutput = true })!;
            process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0;
        }
        catch (Win32Exception)
        {
            return false;
        }
    }
}
