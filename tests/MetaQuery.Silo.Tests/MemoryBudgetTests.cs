using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Pipelines;
using TorchSharp;

namespace MetaQuery.Silo.Tests;

/// <summary>A process whose memory holds one half of its model at a time.</summary>
public sealed class MemoryBudgetTests : IDisposable
{
    private const int Prompts = 24; // more than one batch of the encoder
    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-budget-").FullName;
    private readonly string _model;

    public MemoryBudgetTests()
    {
        _model = Path.Combine(_folder, "tiny");
        RandomModels.Write(_model, "tiny", "bfloat16", 0, static _ => { });
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_job_whose_halves_take_turns_has_the_same_bytes_and_loads_each_half_once_per_window()
    {
        MemoryNeed need = MemoryNeed.Of(_model, "float32");
        using LocalModel whole = LocalModel.Load(_model, "float32", memoryBudgetBytes: need.Bytes);
        Assert.False(whole.HoldsOneHalf);
        IReadOnlyDictionary<string, string> expected = await RunAsync(whole, "whole");
        using LocalModel half = LocalModel.Load(_model, "float32", memoryBudgetBytes: need.Bytes - 1);
        Assert.True(half.HoldsOneHalf);
        Assert.Equal(whole.Description, half.Description);
        Assert.Equal(new HalfLoads(0, 0), half.Loads);
        Assert.Equal(expected, await RunAsync(half, "half"));
        // the head feeds 32 images ahead (two slots, batches of eight, twice), so one window is enough; a second one is left for what a slow machine hands over late
        Assert.InRange(half.Loads.Text, 1, 2);
        Assert.InRange(half.Loads.Image, 1, 2);
        Assert.Equal(new HalfLoads(1, 1), whole.Loads);
    }

    [Fact]
    public async Task The_halves_are_never_in_memory_together_and_neither_starves()
    {
        using LocalModel model = LocalModel.Load(_model, "float32", memoryBudgetBytes: MemoryNeed.Of(_model, "float32").Bytes - 1);
        byte[] condition = model.CreateEncoder().Encode([new ConditionRequest("a cup")], null, CancellationToken.None)[0];
        int mapped = 0;
        // two threads ask for the two halves at once, again and again: each gets its half in the end
        Task encoding = Task.Run(() =>
        {
            IConditionEncoder encoder = model.CreateEncoder();
            for (int i = 0; i < 20; i++)
            {
                Assert.Equal(condition, encoder.Encode([new ConditionRequest("a cup")], null, CancellationToken.None)[0]);
                Assert.False(model.HoldsBoth);
                Interlocked.Increment(ref mapped);
            }
        });
        Task denoising = Task.Run(() =>
        {
            IImageDenoiser denoiser = model.CreateDenoiser();
            ImageSize size = model.Description.Images.DefaultSize;
            for (int i = 0; i < 20; i++)
            {
                denoiser.Denoise(new DenoiseBatch(size.HeightPixels, size.WidthPixels, 1, 1, [new DenoiseRow(condition, condition, 1, 1)]), null, CancellationToken.None);
                Assert.False(model.HoldsBoth);
            }
        });
        await Task.WhenAll(encoding, denoising).WaitAsync(TimeSpan.FromMinutes(5));
        Assert.Equal(20, mapped);
        Assert.True(model.Loads.Image >= 1 && model.Loads.Text >= 1);
    }

    [Fact]
    public void Who_waits_for_the_other_half_gets_it_before_others_come_back()
    {
        using LocalModel model = LocalModel.Load(_model, "float32", memoryBudgetBytes: MemoryNeed.Of(_model, "float32").Bytes - 1);
        IConditionEncoder encoder = model.CreateEncoder();
        byte[] condition = encoder.Encode([new ConditionRequest("a cup")], null, CancellationToken.None)[0];
        ImageSize size = model.Description.Images.DefaultSize;
        var batch = new DenoiseBatch(size.HeightPixels, size.WidthPixels, 1, 1, [new DenoiseRow(condition, condition, 1, 1)]);
        IImageDenoiser denoiser = model.CreateDenoiser();
        for (int round = 0; round < 5; round++)
        {
            bool hasEncoded = false;
            var other = new Thread(() =>
            {
                encoder.Encode([new ConditionRequest("a cup")], null, CancellationToken.None);
                Volatile.Write(ref hasEncoded, true);
            });
            denoiser.Denoise(batch, Meet, CancellationToken.None);
            int came = 0;
            for (; !Volatile.Read(ref hasEncoded); came++)
            {
                denoiser.Denoise(batch, null, CancellationToken.None);
            }

            other.Join();
            Assert.InRange(came, 0, 2); // the first of these had to let the other go before it; what the other says of its end may take a moment

            void Meet()
            {
                if (other.ThreadState.HasFlag(ThreadState.Unstarted))
                {
                    other.Start();
                }

                // for the half that is in use here
                Assert.True(SpinWait.SpinUntil(() => other.ThreadState.HasFlag(ThreadState.WaitSleepJoin), TimeSpan.FromMinutes(1)));
            }
        }
    }

    [Fact]
    public void Who_waits_for_a_half_that_gets_on_shows_progress_too_and_says_when_it_was_cancelled_that_it_had_only_waited()
    {
        using LocalModel model = LocalModel.Load(_model, "float32", memoryBudgetBytes: MemoryNeed.Of(_model, "float32").Bytes - 1);
        byte[] condition = model.CreateEncoder().Encode([new ConditionRequest("a cup")], null, CancellationToken.None)[0];
        ImageSize size = model.Description.Images.DefaultSize;
        using var stop = new CancellationTokenSource();
        int signs = 0;
        Exception? end = null;
        var waiting = new Thread(() => end = Record.Exception(
            () => model.CreateEncoder().Encode([new ConditionRequest("a cup")], () => Interlocked.Increment(ref signs), stop.Token)));
        model.CreateDenoiser().Denoise(
            new DenoiseBatch(size.HeightPixels, size.WidthPixels, 60, 1, [new DenoiseRow(condition, condition, 1, 1)]), Meet, CancellationToken.None);
        waiting.Join();
        Assert.IsType<HalfBusyException>(end);
        Assert.NotEqual(0, signs);

        void Meet()
        {
            if (waiting.ThreadState.HasFlag(ThreadState.Unstarted))
            {
                waiting.Start();
            }

            // a minute in all: it looks five times a second
            if (!stop.IsCancellationRequested && SpinWait.SpinUntil(() => Volatile.Read(ref signs) > 0, TimeSpan.FromSeconds(1)))
            {
                stop.Cancel();
                Assert.True(waiting.Join(TimeSpan.FromMinutes(1)));
            }
        }
    }

    [Fact]
    public async Task Who_waits_while_others_load_the_half_is_cancelled_at_once_and_who_loaded_it_is_too_but_leaves_it_for_the_next()
    {
        MetaQueryModelFolder folder = MetaQueryModelFolder.Open(_model);
        using var isLoading = new ManualResetEventSlim();
        using var mayLoad = new ManualResetEventSlim();
        using var halves = new ModelHalves(Load, null, alternates: true);
        using CancellationTokenSource stopLoading = new(), stopWaiting = new();
        Task<int> loading = Task.Run(() => halves.Encode((_, _) => 1, null, stopLoading.Token));
        Assert.True(isLoading.Wait(TimeSpan.FromMinutes(1)));
        Task<int> waiting = Task.Run(() => halves.Encode((_, _) => 2, null, stopWaiting.Token));
        Assert.Equal(new HalfLoads(0, 0), halves.Loads); // whoever asks is answered meanwhile
        await stopWaiting.CancelAsync();
        await Assert.ThrowsAsync<HalfBusyException>(() => waiting.WaitAsync(TimeSpan.FromSeconds(30))); // it looks five times a second, and the load takes what it is given
        Assert.False(loading.IsCompleted);
        await stopLoading.CancelAsync();
        mayLoad.Set();
        await Assert.ThrowsAsync<HalfBusyException>(() => loading.WaitAsync(TimeSpan.FromMinutes(1)));
        Assert.Equal(3, halves.Encode((_, _) => 3, null, CancellationToken.None));
        Assert.Equal(new HalfLoads(1, 0), halves.Loads);

        TextModel Load()
        {
            isLoading.Set();
            Assert.True(mayLoad.Wait(TimeSpan.FromMinutes(2)));
            return TextModel.Load(folder, torch.ScalarType.Float32, null);
        }
    }

    [Fact]
    public void A_half_that_cannot_be_loaded_fails_who_asked_for_it_and_is_tried_again_for_the_next()
    {
        int tries = 0;
        using var halves = new ModelHalves(
            () => ++tries == 1 ? throw new IOException("the folder is gone") : TextModel.Load(MetaQueryModelFolder.Open(_model), torch.ScalarType.Float32, null), null, alternates: true);
        Assert.Throws<IOException>(() => halves.Encode((_, _) => 1, null, CancellationToken.None));
        Assert.Equal(2, halves.Encode((_, _) => 2, null, CancellationToken.None));
        Assert.Equal(new HalfLoads(1, 0), halves.Loads);
    }

    [Fact]
    public void A_budget_below_one_half_is_refused_with_what_it_needs()
    {
        var refused = Assert.Throws<JobSpecException>(() => LocalModel.Load(_model, "float32", memoryBudgetBytes: 100 << 20));
        Assert.Contains("the half of the model that makes conditions needs about 0.63 GiB", refused.Message, StringComparison.Ordinal);
        // a worker with one role needs one half
        MemoryNeed need = MemoryNeed.Of(_model, "float32");
        using LocalModel text = LocalModel.Load(_model, "float32", roles: WorkRoles.Mllm, memoryBudgetBytes: need.TextBytes);
        Assert.False(text.HoldsOneHalf);
        Assert.Equal(new HalfLoads(1, 0), text.Loads);
    }

    [Fact]
    public void Pictures_features_and_the_condition_cache_are_part_of_what_is_needed()
    {
        const long Cache = 1L << 30;
        MemoryNeed need = MemoryNeed.Of(_model, "float32"), cached = MemoryNeed.Of(_model, "float32", Cache);
        // 256 MiB of the process, and for features 256 MiB that are cached and 128 MiB that are held
        Assert.InRange(need.TextBytes, 640L << 20, 700L << 20);
        Assert.InRange(need.ImageBytes, 256L << 20, 300L << 20);
        Assert.Equal((need.TextBytes + Cache, need.ImageBytes + Cache, need.Bytes + Cache), (cached.TextBytes, cached.ImageBytes, cached.Bytes));
        using LocalModel half = LocalModel.Load(_model, "float32", memoryBudgetBytes: need.Bytes, conditionCacheBytes: 1);
        Assert.True(half.HoldsOneHalf);
    }

    private async Task<IReadOnlyDictionary<string, string>> RunAsync(LocalModel model, string name)
    {
        string prompts = Path.Combine(_folder, "prompts.txt"), folder = Path.Combine(_folder, name);
        await File.WriteAllLinesAsync(prompts, Enumerable.Range(0, Prompts).Select(i => $"picture number {i}"));
        var spec = new JobSpec { PromptFile = prompts, OutFolder = folder, NumInferenceSteps = 1 };
        JobResult result = await new EmbeddedFarm(model).RunAsync(spec, new FarmOptions { Slots = 2 }, null, CancellationToken.None);
        Assert.Equal(Prompts, result.Progress.Written);
        return Directory.EnumerateFiles(folder, "*.tar").Append(Path.Combine(folder, "manifest.jsonl"))
            .ToDictionary(file => Path.GetFileName(file), file => Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(File.ReadAllBytes(file))));
    }
}
