using MetaQuery.Data;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class RefusalTests : IDisposable
{
    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public void An_out_folder_of_another_job_is_refused_with_the_fields_that_differ()
    {
        Run.Job(new ToyModel(), Spec());
        var conflict = Assert.Throws<OutFolderConflictException>(() => Run.Job(new ToyModel(), Spec() with { Seed = 6, NumInferenceSteps = 9 }));
        Assert.Equal([("steps", "4", "9"), ("seed", "5", "6")], conflict.Differences);
        Assert.Contains("seed (there 5, here 6)", conflict.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', conflict.Message);
        Assert.Equal(ExitCodes.OutFolderTaken, ExitCodes.For(conflict));
    }

    [Fact]
    public void Changed_prompts_and_another_model_are_another_job()
    {
        Run.Job(new ToyModel(), Spec());
        _work.Write("prompts.jsonl", """{"prompt": "something else"}""");
        Assert.Contains(
            Assert.Throws<OutFolderConflictException>(() => Run.Job(new ToyModel(), Spec(rewrite: false))).Differences, field => field.Field == "prompts_sha256");
        Assert.Contains(
            Assert.Throws<OutFolderConflictException>(() => Run.Job(new ToyModel { Revision = "toy-2" }, Spec())).Differences,
            field => field is ("model_revision", "toy-1", "toy-2"));
    }

    [Fact]
    public void The_same_bytes_read_as_another_kind_of_file_are_another_job()
    {
        Run.Job(new ToyModel(), Spec());
        File.Copy(_work["prompts.jsonl"], _work["prompts.txt"]);
        var conflict = Assert.Throws<OutFolderConflictException>(() => Run.Job(new ToyModel(), Spec() with { PromptFile = _work["prompts.txt"] }));
        Assert.Equal([("prompts_format", "jsonl", "txt")], conflict.Differences);
    }

    [Fact]
    public void A_manifest_of_another_job_is_refused()
    {
        Run.Job(new ToyModel(), Spec());
        Run.Job(new ToyModel(), Spec() with { Seed = 6, OutFolder = _work["other"] });
        File.Copy(_work["other/manifest.jsonl"], _work["out/manifest.jsonl"], overwrite: true);
        var refused = Assert.Throws<ManifestException>(() => Run.Job(new ToyModel(), Spec()));
        Assert.Contains("is of another job", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_cache_folder_without_a_name_is_refused() => Assert.Contains(
        "cache folder",
        Assert.Throws<JobSpecException>(() => Run.Job(new ToyModel(), Spec(), new FarmOptions { CacheFolder = "" })).Message,
        StringComparison.Ordinal);

    [Fact]
    public void What_the_file_system_refuses_without_an_exception_of_ours_is_still_an_error_of_storage() => Assert.All(
        new Exception[] { new IOException("x"), new UnauthorizedAccessException(), new DirectoryNotFoundException(), new ShardFormatException("x") },
        exception => Assert.Equal(ExitCodes.Storage, ExitCodes.For(exception)));

    [Fact]
    public void A_folder_that_holds_other_things_is_refused_and_left_alone()
    {
        Directory.CreateDirectory(_work["out"]);
        File.WriteAllText(_work["out/thesis.txt"], "precious");
        var refused = Assert.Throws<OutFolderConflictException>(() => Run.Job(new ToyModel(), Spec()));
        Assert.Contains("thesis.txt", refused.Message, StringComparison.Ordinal);
        Assert.Equal(["thesis.txt"], Directory.EnumerateFileSystemEntries(_work["out"]).Select(Path.GetFileName));
    }

    [Fact]
    public async Task A_folder_in_use_is_refused()
    {
        using var reached = new ManualResetEventSlim();
        using var release = new ManualResetEventSlim();
        var model = new ToyModel
        {
            BeforeDenoise = (_, token) =>
            {
                reached.Set();
                release.Wait(token);
            },
        };
        Task<JobResult> running = new EmbeddedFarm(model).RunAsync(Spec(), new FarmOptions(), null, CancellationToken.None);
        reached.Wait();
        var refused = Assert.Throws<OutFolderInUseException>(() => Run.Job(new ToyModel(), Spec(rewrite: false)));
        Assert.Equal(ExitCodes.OutFolderTaken, refused.ExitCode);
        var other = Assert.Throws<OutFolderConflictException>(() => Run.Job(new ToyModel(), Spec(rewrite: false) with { Seed = 6 }));
        Assert.Equal([("seed", "5", "6")], other.Differences);
        release.Set();
        Assert.Equal(JobState.Completed, (await running).State);
    }

    [Fact]
    public void Other_numerics_are_refused_unless_they_are_allowed_and_then_stated()
    {
        using var cancel = new CancellationTokenSource();
        Run.Job(new ToyModel { BeforeDenoise = (_, _) => cancel.Cancel() }, Spec(), cancellationToken: cancel.Token);
        ToyModel Other() => new() { Numerics = new NumericsFingerprint("float32", "avx2", 1, "none 0", "toy") };
        var refused = Assert.Throws<ModelMismatchException>(() => Run.Job(Other(), Spec()));
        Assert.Contains("cpu=toy", refused.Message, StringComparison.Ordinal);
        Assert.Contains("cpu=avx2", refused.Message, StringComparison.Ordinal);
        JobResult result = Run.Job(Other(), Spec(), new FarmOptions { AllowOtherNumerics = true });
        Assert.Equal(JobState.Completed, result.State);
        Assert.Contains("cpu=avx2", File.ReadAllText(_work["out/job.json"]), StringComparison.Ordinal);
        using Manifest manifest = Manifest.Load(_work["out/manifest.jsonl"]);
        Assert.Contains("cpu=toy", manifest.Header.NumericsFingerprint, StringComparison.Ordinal);
    }

    public static TheoryData<string, Func<JobSpec, JobSpec>, int> BadSpecs => new()
    {
        { "images per prompt 0", spec => spec with { ImagesPerPrompt = 0 }, ExitCodes.InvalidInput },
        { "steps 0", spec => spec with { NumInferenceSteps = 0 }, ExitCodes.InvalidInput },
        { "guidance NaN", spec => spec with { GuidanceScale = float.NaN }, ExitCodes.InvalidInput },
        { "guidance -1", spec => spec with { GuidanceScale = -1 }, ExitCodes.InvalidInput },
        { "samples per shard 0", spec => spec with { SamplesPerShard = 0 }, ExitCodes.InvalidInput },
        { "quality 101", spec => spec with { Quality = 101 }, ExitCodes.InvalidInput },
        { "batch size -4", spec => spec with { BatchSize = -4 }, ExitCodes.InvalidInput },
        { "height 12 cannot", spec => spec with { Size = new ImageSize(12, 8) }, ExitCodes.Model },
        { "width 72 cannot", spec => spec with { Size = new ImageSize(8, 72) }, ExitCodes.Model },
        { "dtype int4", spec => spec with { Dtype = "int4" }, ExitCodes.InvalidInput },
        { "asks for bfloat16", spec => spec with { Dtype = "bfloat16" }, ExitCodes.Model },
        { "both a prompt file and", spec => spec with { Prompts = ["a"] }, ExitCodes.InvalidInput },
        { "neither a prompt file", spec => spec with { PromptFile = null }, ExitCodes.InvalidInput },
        { "prompt 2 is empty", spec => spec with { PromptFile = null, Prompts = ["a", " "] }, ExitCodes.InvalidInput },
        { "prompt 1 has 1000000", spec => spec with { PromptFile = null, Prompts = [new string('a', 1_000_000)] }, ExitCodes.InvalidInput },
        { "prompt 1 is not valid text", spec => spec with { PromptFile = null, Prompts = ["a\ud800b"] }, ExitCodes.InvalidInput },
        {
            "2000000 shards of 1",
            spec => spec with { PromptFile = null, Prompts = [.. Enumerable.Repeat("a", 20)], ImagesPerPrompt = 100_000, SamplesPerShard = 1 },
            ExitCodes.InvalidInput
        },
        { "missing.txt", spec => spec with { PromptFile = "missing.txt" }, ExitCodes.InvalidInput },
    };

    [Theory]
    [MemberData(nameof(BadSpecs), DisableDiscoveryEnumeration = true)]
    public void A_bad_value_is_one_line_that_names_it_and_nothing_is_written(string names, Func<JobSpec, JobSpec> spoil, int exitCode)
    {
        Exception refused = Assert.ThrowsAny<Exception>(() => Run.Job(new ToyModel(), spoil(Spec())));
        Assert.Contains(names, refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refused.Message);
        Assert.Equal(exitCode, ExitCodes.For(refused));
        Assert.False(Directory.Exists(_work["out"]));
    }

    [Fact]
    public void A_bad_line_stops_the_job_before_it_starts_or_is_skipped_and_listed()
    {
        _work.Write("bad.jsonl", """{"prompt": "a"}""", """{"caption": "b"}""", """{"prompt": "c"}""");
        JobSpec spec = Spec() with { PromptFile = _work["bad.jsonl"] };
        Exception refused = Assert.ThrowsAny<PromptFileException>(() => Run.Job(new ToyModel(), spec));
        Assert.Contains("line 2", refused.Message, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_work["out"]));
        JobResult result = Run.Job(new ToyModel(), spec with { SkipInvalid = true });
        Assert.Equal(6, result.Progress.Written);
        Assert.StartsWith("line 2", Assert.Single(result.SkippedLines), StringComparison.Ordinal);
    }

    private JobSpec Spec(bool rewrite = true) =>
        Run.Spec(rewrite ? _work.Write("prompts.jsonl", Run.MixedLines) : _work["prompts.jsonl"], _work["out"]);
}
