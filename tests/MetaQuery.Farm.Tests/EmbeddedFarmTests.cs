using System.Text.Json;
using MetaQuery.Data;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Imaging;

namespace MetaQuery.Farm.Tests;

public sealed class EmbeddedFarmTests : IDisposable
{
    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public void A_job_becomes_shards_a_manifest_a_contact_sheet_and_statistics()
    {
        JobResult result = Run.Job(new ToyModel(), Spec("out"));
        Assert.Equal(JobState.Completed, result.State);
        Assert.Equal(ExitCodes.Success, result.ExitCode);
        Assert.Equal(27, result.Progress.Written);
        Assert.Equal(
            [".farm", "00000.tar", "00001.tar", "00002.tar", "00003.tar", "_stats.json", "contact-sheet.png", "job.json", "manifest.jsonl"],
            Directory.EnumerateFileSystemEntries(_work["out"]).Select(Path.GetFileName).Order(StringComparer.Ordinal));
        Assert.Equal(["lock"], Directory.EnumerateFileSystemEntries(_work["out/.farm"]).Select(Path.GetFileName));

        List<ShardSample> samples = [.. Enumerable.Range(0, 4).SelectMany(i => WebDatasetShardReader.Read(_work[$"out/0000{i}.tar"]))];
        Assert.Equal(27, samples.Count);
        using JsonDocument third = JsonDocument.Parse(samples[6].Files.Single(file => file.Extension == "json").Content);
        Assert.Equal("a red apple", third.RootElement.GetProperty("prompt").GetString());
        Assert.Equal(0.5, third.RootElement.GetProperty("weight").GetDouble());
        Assert.Equal(ImageSeed.ForPrompt(5, 2, 0), third.RootElement.GetProperty("seed").GetUInt64());
        using JsonDocument own = JsonDocument.Parse(samples[10].Files.Single(file => file.Extension == "json").Content);
        Assert.Equal(ImageSeed.ForLine(99, 1), own.RootElement.GetProperty("seed").GetUInt64());
        using JsonDocument stats = JsonDocument.Parse(File.ReadAllBytes(_work["out/_stats.json"]));
        Assert.Equal("completed", stats.RootElement.GetProperty("state").GetString());
    }

    [Theory]
    [InlineData(1, 1)]
    [InlineData(3, 8)]
    public void The_bytes_do_not_depend_on_slots_or_encoder_batches(int slots, int encodeBatch)
    {
        Run.Job(new ToyModel(), Spec("one"));
        Run.Job(new ToyModel(), Spec("two"), new FarmOptions { Slots = slots, EncodeBatchSize = encodeBatch, CacheMemoryBytes = 0 });
        Assert.Equal(Workspace.HashOutput(_work["one"]), Workspace.HashOutput(_work["two"]));
    }

    [Fact]
    public void Duplicate_prompts_and_the_empty_one_are_encoded_once()
    {
        var model = new ToyModel();
        JobResult result = Run.Job(model, Spec("out"));
        Assert.All(model.Encoded, caption => Assert.Equal(1, caption.Value));
        Assert.Equal(["", "a blue cup", "a cat", "a dog", "a green pear", "a red apple", "a tree", "ein Bär mit Hut"], model.Encoded.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(8, result.Stats.ConditionPasses);
    }

    [Fact]
    public void A_duplicate_far_behind_is_found_on_disk_when_memory_is_too_small_for_it()
    {
        var model = new ToyModel();
        string[] lines = [.. Enumerable.Range(0, 200).Select(i => $"prompt {i % 100}")];
        string prompts = _work.Write("far.txt", lines);
        JobResult result = Run.Job(
            model, new JobSpec { PromptFile = prompts, OutFolder = _work["out"] }, new FarmOptions { Slots = 2, CacheMemoryBytes = 20 * ToyModel.ConditionBytes });
        Assert.Equal(101, model.TotalPasses);
        Assert.InRange(result.Stats.Cache.DiskHits, 80, 120);
    }

    [Fact]
    public void A_prompt_that_comes_once_takes_no_room_on_disk()
    {
        string prompts = _work.Write("once.txt", [.. Enumerable.Range(0, 50).Select(i => $"prompt {i}")]);
        JobResult result = Run.Job(new ToyModel(), new JobSpec { PromptFile = prompts, OutFolder = _work["out"] });
        Assert.Equal(44 + ToyModel.ConditionBytes, result.Stats.Cache.DiskBytes); // the empty prompt's alone
    }

    [Fact]
    public void Cancelling_leaves_a_folder_that_goes_on_and_ends_with_the_same_bytes()
    {
        Run.Job(new ToyModel(), Spec("whole"));
        var made = new Dictionary<ulong, int>();
        for (int round = 0, stopAfter = 1; ; round++, stopAfter += 2)
        {
            using var cancel = new CancellationTokenSource();
            int calls = 0;
            var model = new ToyModel
            {
                BeforeDenoise = (_, _) =>
                {
                    if (Interlocked.Increment(ref calls) > stopAfter)
                    {
                        cancel.Cancel();
                    }
                },
            };
            JobResult result = Run.Job(model, Spec("out"), cancellationToken: cancel.Token);
            foreach ((ulong seed, int count) in model.Denoised)
            {
                made[seed] = made.GetValueOrDefault(seed) + count;
            }

            if (result.State == JobState.Completed)
            {
                Assert.InRange(round, 1, 10);
                break;
            }

            Assert.Equal(ExitCodes.Cancelled, result.ExitCode);
        }

        Assert.Equal(Workspace.HashOutput(_work["whole"]), Workspace.HashOutput(_work["out"]));
        Assert.All(made, image => Assert.Equal(1, image.Value)); // nothing that was finished is made again
    }

    [Fact]
    public void Running_a_finished_job_again_makes_nothing_and_changes_nothing()
    {
        Run.Job(new ToyModel(), Spec("out"));
        byte[] stats = File.ReadAllBytes(_work["out/_stats.json"]);
        SortedDictionary<string, string> before = Workspace.HashOutput(_work["out"]);
        var model = new ToyModel();
        JobResult again = Run.Job(model, Spec("out"));
        Assert.Equal(JobState.Completed, again.State);
        Assert.Equal(27, again.Progress.Resumed);
        Assert.Empty(model.Encoded);
        Assert.Empty(model.Denoised);
        Assert.Equal(before, Workspace.HashOutput(_work["out"]));
        Assert.Equal(stats, File.ReadAllBytes(_work["out/_stats.json"]));
    }

    [Fact]
    public void A_shard_that_was_lost_or_cut_is_made_again_with_the_same_bytes()
    {
        Run.Job(new ToyModel(), Spec("whole"));
        Run.Job(new ToyModel(), Spec("out"));
        File.Delete(_work["out/00001.tar"]);
        File.WriteAllBytes(_work["out/00002.tar"], File.ReadAllBytes(_work["out/00002.tar"])[..^512]);
        var model = new ToyModel();
        Run.Job(model, Spec("out"));
        Assert.Equal(14, model.Denoised.Count);
        SortedDictionary<string, string> made = Workspace.HashOutput(_work["out"]);
        SortedDictionary<string, string> whole = Workspace.HashOutput(_work["whole"]);
        made.Remove(Manifest.FileName); // it has two superseding lines more
        whole.Remove(Manifest.FileName);
        Assert.Equal(whole, made);
    }

    [Fact]
    public async Task Generate_makes_the_pictures_of_a_job_without_a_folder()
    {
        var spec = new JobSpec { Prompts = ["a red apple", "a tree"], OutFolder = _work["none"], ImagesPerPrompt = 3, Seed = 11 };
        IReadOnlyList<GeneratedImage> images =
            await new EmbeddedFarm(new ToyModel()).GenerateAsync(spec, new FarmOptions(), null, CancellationToken.None);
        Assert.False(Directory.Exists(_work["none"]));
        Assert.Equal([(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)], images.Select(image => (image.PromptIndex, image.SampleIndex)));
        Run.Job(new ToyModel(), spec with { OutFolder = _work["out"] });
        List<ShardSample> samples = [.. WebDatasetShardReader.Read(_work["out/00000.tar"])];
        Assert.Equal(samples.Select(sample => sample.Files.Single(file => file.Extension == "png").Content.ToArray()), images.Select(image => image.Encoded));
        Assert.Equal(ImageDecoder.Decode(images[4].Encoded).Pixels, images[4].Image.Pixels);
    }

    [Fact]
    public async Task A_dry_run_says_what_would_be_made_and_writes_nothing()
    {
        var farm = new EmbeddedFarm(new ToyModel());
        JobPlanSummary plan = await farm.PlanAsync(Spec("out"), new FarmOptions(), CancellationToken.None);
        Assert.Equal((9, 6, 2, 27, 4, 0), (plan.Prompts, plan.UniquePrompts, plan.UniqueNegativePrompts, plan.Images, plan.Shards, plan.AlreadyCommitted));
        Assert.False(Directory.Exists(_work["out"]));
        Run.Job(new ToyModel(), Spec("out"));
        long bytes = Directory.EnumerateFiles(_work["out"], "*.tar").Sum(path => new FileInfo(path).Length);
        Assert.InRange(plan.EstimatedBytes, bytes / 3, bytes * 3);
        Assert.Equal(27, (await farm.PlanAsync(Spec("out"), new FarmOptions(), CancellationToken.None)).AlreadyCommitted);
    }

    [Fact]
    public async Task Progress_only_grows_and_ends_complete()
    {
        var seen = new List<JobProgress>();
        await new EmbeddedFarm(new ToyModel()).RunAsync(Spec("out"), new FarmOptions { Slots = 2 }, new Collector(seen), CancellationToken.None);
        Assert.All(seen.Zip(seen.Skip(1)), pair => Assert.True(pair.Second.Written >= pair.First.Written && pair.Second.State >= pair.First.State));
        Assert.Equal((JobState.Completed, 27L, 27L, 27L, 9L), (seen[^1].State, seen[^1].Images, seen[^1].Written, seen[^1].Denoised, seen[^1].PromptsPlanned));
        Assert.Equal(TimeSpan.Zero, seen[^1].TimeLeft);
    }

    private JobSpec Spec(string outFolder) => Run.Spec(_work.Write("prompts.jsonl", Run.MixedLines), _work[outFolder]);

    private sealed class Collector(List<JobProgress> seen) : IProgress<JobProgress>
    {
        public void Report(JobProgress value)
        {
            lock (seen)
            {
                seen.Add(value);
            }
        }
    }
}
