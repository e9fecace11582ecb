using System.Security.Cryptography;
using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.TestKit;

namespace MetaQuery.Silo.Tests;

/// <summary>Jobs about pictures with whole models of a few megabytes: Qwen2.5-VL with Sana, and with SD 1.5.</summary>
public sealed class PictureJobTests : IDisposable
{
    private const string Rgb = "00_rgb_61x43.png";
    private const string Grey16 = "04_gray16_32x30.png";
    private const string Exif = "06_jpegexif_48x30.jpg";

    private readonly TemporaryFolder _work = new();

    public PictureJobTests()
    {
        Directory.CreateDirectory(In("sub"));
        foreach (string name in new[] { Rgb, Grey16, Exif, "07_rgb_1x1.png" })
        {
            File.Copy(TinyMetaQuery.Picture(name), In(Path.Combine("sub", name)));
        }
    }

    public void Dispose() => _work.Dispose();

    /// <summary>Editing, reconstruction, several pictures, text alone, unguided, guided by text alone; one that the processor refuses; a data: URI.</summary>
    private string[] Lines =>
    [
        $$"""{"prompt":"make it red","images":["sub/{{Rgb}}"],"seed":1}""",
        $$"""{"images":["sub/{{Rgb}}"],"seed":2}""",
        $$"""{"prompt":"both together","images":["sub/{{Grey16}}","sub/{{Exif}}"],"seed":3,"image_guidance_scale":2.5}""",
        """{"prompt":"a dog","seed":4}""",
        """{"prompt":"a dog","seed":5,"guidance":1}""",
        $$"""{"prompt":"make it blue","images":["sub/{{Rgb}}"],"seed":6,"image_guidance":1}""",
        """{"prompt":"too small","images":["sub/07_rgb_1x1.png"],"seed":7}""",
        $$"""{"prompt":"make it red","images":["data:image/jpeg;base64,{{Convert.ToBase64String(File.ReadAllBytes(TinyMetaQuery.Picture(Exif)))}}"],"seed":8}""",
    ];

    [Fact]
    public async Task A_job_has_the_same_bytes_embedded_and_over_the_API_whatever_interrupted_it()
    {
        using TinyMetaQuery tiny = TinyMetaQuery.Sana();
        using LocalModel model = LocalModel.Load(tiny.Folder, "float32");
        string prompts = Write("p.jsonl", Lines);
        JobResult result = await RunAsync(model, prompts, "out");
        Assert.Equal((JobState.CompletedWithErrors, 14L, 2L), (result.State, result.Progress.Written, result.Progress.Failed));
        Assert.Contains("at least 28", result.FailedSamples[0].Reason, StringComparison.Ordinal);
        // three pictures, and black ones of three sizes: five instructions and a reconstruction ran the tower no oftener
        Assert.Equal(6, model.PicturePasses);
        Assert.Equal(14, Images("out").Values.Distinct().Count());

        using var stop = new CancellationTokenSource();
        var watch = new Progress(progress => { if (progress.Denoised > 0) { stop.Cancel(); } });
        await RunAsync(model, prompts, "resumed", stop: stop.Token, progress: watch);
        Assert.Equal(JobState.CompletedWithErrors, (await RunAsync(model, prompts, "resumed", slots: 2)).State);
        Assert.Equal(Hash("out"), Hash("resumed"));

        await using ToyServer server = await ToyServer.StartAsync(In("data"), model: model);
        using var client = new FarmClient(server.Url);
        var request = new JobRequest { ImagesPerPrompt = 2, Seed = 5, SamplesPerShard = 7, BatchSize = 4 };
        PictureUpload[] pictures = [.. new[] { Rgb, Grey16, Exif, "07_rgb_1x1.png" }.Select(name => new PictureUpload($"sub/{name}", () => File.OpenRead(In($"sub/{name}"))))];
        Job job = await client.UploadJobAsync(request, File.OpenRead(prompts), prompts, pictures, "key");
        await foreach (Client.JobEvent _ in client.WatchJobAsync(job.Id))
        {
        }

        Assert.Equal((JobStates.CompletedWithErrors, 14L, 2L), ((await client.GetJobAsync(job.Id)).State, (await client.GetJobAsync(job.Id)).Counts.Written, (await client.GetJobAsync(job.Id)).Counts.Failed));
        Assert.Equal(
            Hash("out").Where(file => file.Key.EndsWith(".tar", StringComparison.Ordinal)),
            Hash(Path.Combine("data", "jobs", job.Id, "out")).Where(file => file.Key.EndsWith(".tar", StringComparison.Ordinal)));
        Assert.Equal(6, model.PicturePasses);
        JsonElement made = (await client.GetSampleAsync(job.Id, 0)).Metadata;
        Assert.Equal(Sha(In($"sub/{Rgb}")), Assert.Single(made.GetProperty("images").EnumerateArray()).GetString());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_picture_is_the_same_alone_and_among_others_of_any_guidance(bool isSana)
    {
        using TinyMetaQuery tiny = isSana ? TinyMetaQuery.Sana() : TinyMetaQuery.StableDiffusion();
        using LocalModel model = LocalModel.Load(tiny.Folder, "float32");
        string[] lines = Lines;
        await RunAsync(model, Write("all.jsonl", lines), "all");
        SortedDictionary<string, string> together = Images("all");
        Assert.Equal(14, together.Count);
        foreach (int line in new[] { 0, 1, 2, 5 })
        {
            await RunAsync(model, Write($"one{line}.jsonl", lines[line]), $"one{line}");
            Assert.Equal(
                [together[$"{line} 0"], together[$"{line} 1"]],
                Images($"one{line}").Values);
        }

        // the branches are what they are said to be: another picture, another order, another scale, other pixels
        await RunAsync(model, Write("others.jsonl",
            $$"""{"prompt":"make it red","images":["sub/{{Grey16}}"],"seed":1}""",
            $$"""{"prompt":"both together","images":["sub/{{Exif}}","sub/{{Grey16}}"],"seed":3,"image_guidance_scale":2.5}""",
            $$"""{"prompt":"make it red","images":["sub/{{Rgb}}"],"seed":1,"image_guidance":1}""",
            $$"""{"prompt":"make it red","images":["sub/{{Rgb}}"],"seed":1,"image_guidance":3}"""), "others");
        Assert.Equal(8, Images("others").Values.Except(together.Values).Count());
    }

    [Fact]
    public void A_description_without_weights_tells_which_pictures_are_refused()
    {
        using TinyMetaQuery tiny = TinyMetaQuery.Sana();
        ModelDescription described = LocalModel.Describe(tiny.Folder);
        Assert.Null(described.PictureRefusal!(61, 43));
        Assert.Contains("at least 28", described.PictureRefusal(61, 20), StringComparison.Ordinal);
        Assert.Null(LocalModel.Describe(RepositoryFolders.NanoModel).PictureRefusal);
    }

    [Fact]
    public async Task Workers_with_a_half_each_read_pictures_from_the_shared_folder()
    {
        using TinyMetaQuery tiny = TinyMetaQuery.Sana();
        using LocalModel text = LocalModel.Load(tiny.Folder, "float32", roles: WorkRoles.Mllm);
        using LocalModel image = LocalModel.Load(tiny.Folder, "float32", roles: WorkRoles.Dit);
        using var queue = new MemoryWorkQueue(TimeSpan.FromSeconds(30));
        var registry = new MemoryWorkerRegistry(TimeSpan.FromSeconds(30));
        string data = In("apart");
        await using FarmHead head = await FarmHead.StartAsync(LocalModel.Describe(tiny.Folder), queue, registry, new HeadOptions { DataFolder = data }, CancellationToken.None);
        using var stop = new CancellationTokenSource();
        var conditions = new ConditionCache(1 << 20, []); // in the place of Redis' tier, which all workers share
        WorkerHost[] hosts =
        [
            .. new[] { (text, WorkRoles.Mllm), (image, WorkRoles.Dit) }.Select(half => new WorkerHost(
                half.Item1, queue, registry, conditions,
                new WorkerOptions { Roles = half.Item2, Pictures = new PictureFolder(DataFolder.PicturesOf(data)) })),
        ];
        Task[] runs = [.. hosts.Select(host => host.RunAsync(stop.Token))];
        JobView job = await head.SubmitAsync(
            new JobSubmission { Spec = Spec(Write("p.jsonl", Lines), "ignored"), Tenant = "t" }, CancellationToken.None);
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        await foreach (Farm.JobEvent happened in head.WatchAsync(new JobReference(job.Id, null), null, limit.Token))
        {
            job = happened.Job;
        }

        Assert.Equal((JobState.CompletedWithErrors, 14L, 2L), (job.State, job.Counts.Written, job.Counts.Failed));
        using LocalModel whole = LocalModel.Load(tiny.Folder, "float32");
        await RunAsync(whole, In("p.jsonl"), "whole");
        Assert.Equal(Images("whole"), Images(Path.Combine("apart", "jobs", job.Id, "out")));
        await stop.CancelAsync();
        await Task.WhenAll(runs);
        Array.ForEach(hosts, host => host.Dispose());
    }

    private JobSpec Spec(string prompts, string name) => new()
    {
        PromptFile = prompts, OutFolder = In(name), ImagesPerPrompt = 2, SamplesPerShard = 7, Seed = 5, BatchSize = 4,
    };

    private Task<JobResult> RunAsync(LocalModel model, string prompts, string name, int slots = 1, IProgress<JobProgress>? progress = null, CancellationToken stop = default) =>
        new EmbeddedFarm(model).RunAsync(Spec(prompts, name), new FarmOptions { Slots = slots }, progress, stop);

    private string In(string name) => Path.Combine(_work.Path, name);

    private string Write(string name, params string[] lines)
    {
        File.WriteAllLines(In(name), lines);
        return In(name);
    }

    private static string Sha(string path) => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(path)));

    private SortedDictionary<string, string> Hash(string folder) => new(
        Directory.EnumerateFiles(In(folder)).Where(path => Path.GetFileName(path) is not "_stats.json").ToDictionary(path => Path.GetFileName(path), Sha), StringComparer.Ordinal);

    /// <summary>Hashes of the pictures' files by prompt and sample.</summary>
    private SortedDictionary<string, string> Images(string folder) => new(
        Directory.EnumerateFiles(In(folder), "*.tar").SelectMany(WebDatasetShardReader.Read)
            .ToDictionary(Place, sample => Convert.ToHexStringLower(SHA256.HashData(sample.Files.Single(file => file.Extension == "png").Content.Span))),
        StringComparer.Ordinal);

    private static string Place(ShardSample sample)
    {
        using JsonDocument json = JsonDocument.Parse(sample.Files.Single(file => file.Extension == "json").Content);
        return $"{json.RootElement.GetProperty("prompt_index").GetInt64()} {json.RootElement.GetProperty("sample_index").GetInt32()}";
    }

    private sealed class Progress(Action<JobProgress> told) : IProgress<JobProgress>
    {
        public void Report(JobProgress value) => told(value);
    }
}
