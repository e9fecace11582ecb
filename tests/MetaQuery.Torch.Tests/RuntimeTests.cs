using MetaQuery.Kernels;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

[LeakCheck]
public sealed class RuntimeTests
{
    static bool Set(string variable) => Environment.GetEnvironmentVariable(variable) is not null;

    [Fact]
    public void The_loader_starts_with_one_thread_in_libtorch_and_in_the_BLAS()
    {
        if (Set("OMP_NUM_THREADS") || Set("OPENBLAS_NUM_THREADS")) return; // a user's own setting wins
        Assert.Equal(1, get_num_threads());
        Assert.InRange(TorchRuntime.BlasThreads, 0, 1);
    }

    [Fact]
    public void The_kernels_are_the_widest_that_the_processor_has()
    {
        if (!CpuFeatures.HasAvx512 || Set("ATEN_CPU_CAPABILITY") || Set("OPENBLAS_CORETYPE")) return;
        Assert.Equal("avx512", TorchRuntime.CpuCapability);
        // OpenBLAS 0.3.21's names of its kernels for AVX-512; Haswell or Zen would be its AVX2 fallback.
        if (TorchRuntime.BlasKernels != "other") Assert.Contains(TorchRuntime.BlasKernels, new[] { "SkylakeX", "Cooperlake", "SapphireRapids" });
    }

    [Fact]
    public void Numerics_state_everything_that_a_bit_depends_on()
    {
        var numerics = TorchRuntime.Numerics;
        Assert.Equal(numerics, TorchRuntime.Numerics);
        Assert.Matches(@"^libtorch=\d+\.\d+\.\d+ cpu=\w+ blas=\w+ threads=\d+ kernels=[012] bf16=\w+$", numerics.ToString());
        Assert.NotEqual(numerics, numerics with { ThreadsPerSlot = 2 });
    }

    /// <summary>What makes slots of one thread each possible: no state of libtorch or OpenBLAS is shared between them.</summary>
    [Fact]
    public void Two_slots_side_by_side_compute_the_same_bits_as_one_alone()
    {
        float[] Work(ulong seed)
        {
            using var scope = NewDisposeScope();
            using var mode = inference_mode();
            using var generator = new Generator(seed);
            var x = randn([96, 256], generator: generator);
            var w = randn([256, 256], generator: generator) / 16;
            for (var i = 0; i < 40; i++) x = x.matmul(w).silu() + x;
            return Values.Of(x);
        }

        var alone = new[] { Work(1), Work(2) };
        var together = new float[2][];
        var slots = Enumerable.Range(0, 2).Select(i => new Thread(() => together[i] = Work((ulong)i + 1))).ToList();
        slots.ForEach(slot => slot.Start());
        slots.ForEach(slot => slot.Join());
        Assert.Equal(alone[0], together[0]);
        Assert.Equal(alone[1], together[1]);
    }

    [Fact]
    public void Modes_belong_to_their_thread()
    {
        using var mode = inference_mode();
        var elsewhere = true;
        var thread = new Thread(() => elsewhere = is_inference_mode_enabled());
        thread.Start();
        thread.Join();
        Assert.False(elsewhere);
        Assert.True(is_inference_mode_enabled());
    }

    /// <summary>
    /// A step asks for the same large blocks again and again. Given back to the system, each page of them would cost a fault:
    /// here 3 blocks of 4 MiB, 3,072 pages a round.
    /// </summary>
    [Fact]
    public void Large_blocks_stay_with_the_process()
    {
        if (Environment.GetEnvironmentVariable("METAQUERY_ALLOCATOR") == "system") return;
        using var scope = NewDisposeScope();
        using var mode = inference_mode();
        var x = ones(1024, 1024);
        void Round()
        {
            using var step = NewDisposeScope();
            _ = (x.silu() * x).exp();
        }
        for (var i = 0; i < 3; i++) Round();
        var before = PageFaults();
        for (var i = 0; i < 10; i++) Round();
        Assert.InRange(PageFaults() - before, 0, 1000); // the runtime's own; 30,720 without the pool
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1000)]
    [InlineData(65536)]
    [InlineData(65537)]
    [InlineData(1_000_003)]
    [InlineData(20_000_000)]
    public void Blocks_of_every_size_are_aligned_apart_and_whole(long elements)
    {
        using var scope = NewDisposeScope();
        for (var round = 0; round < 2; round++) // the second from the pool
        {
            Tensor a = full([elements], 1f), b = full([elements], 2f);
            unsafe
            {
                fixed (byte* first = a.bytes) Assert.Equal(0, (nint)first % 64);
            }
            Assert.True(a.eq(1).all().item<bool>() && b.eq(2).all().item<bool>());
            scope.DisposeEverything();
        }
    }

    static long PageFaults()
    {
        var usage = new long[18]; // struct rusage: two times of two words, then maxrss, ixrss, idrss, isrss, minflt
        Assert.Equal(0, getrusage(1, usage)); // RUSAGE_THREAD
        return usage[8];
    }

    [System.Runtime.InteropServices.DllImport("libc")]
    static extern int getrusage(int who, long[] usage);
}
