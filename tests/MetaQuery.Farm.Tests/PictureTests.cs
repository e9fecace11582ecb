using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text.Json;
using MetaQuery.Data;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Imaging;

namespace MetaQuery.Farm.Tests;

/// <summary>Jobs whose prompts are about pictures, run in one process.</summary>
public sealed class PictureTests : IDisposable
{
    private readonly Workspace _work = new();

    public PictureTests()
    {
        foreach ((string name, int side) in new[] { ("a.png", 8), ("b.png", 12), ("small.png", 3) })
        {
            File.WriteAllBytes(_work[name], Png(side, side));
        }
    }

    public void Dispose() => _work.Dispose();

    [Fact]
    public void A_pipe_that_is_named_as_a_picture_is_refused_at_once()
    {
        using (var make = System.Diagnostics.Process.Start("mkfifo", _work["pipe.png"]))
        {
            make.WaitForExit();
        }

        Assert.Contains("pipe.png: is no regular file", Assert.Throws<PictureException>(() => PictureFiles.ReadFirst("pipe.png", _work.Root)).Message, StringComparison.Ordinal);
    }

    internal static byte[] Png(int width, int height, byte shade = 200)
    {
        var picture = new RgbImage(width, height);
        Array.Fill(picture.Pixels, shade);
        return ImageEncoder.Encode(picture, ImageFormat.Png);
    }

    internal static string Sha(byte[] file) => Convert.ToHexStringLower(SHA256.HashData(file));

    [Fact]
    public void Samples_name_their_pictures_and_guidance_by_the_line_the_job_or_the_references_default()
    {
        string prompts = _work.Write("p.jsonl",
            """{"prompt":"make it red","images":["a.png"]}""", """{"images":["a.png"]}""", """{"prompt":"both","images":["a.png","b.png"],"image_guidance_scale":2}""",
            """{"prompt":"only text"}""", """{"prompt":"not guided by them","images":["a.png"],"image_guidance":1}""");
        JobResult result = Run.Job(Toy(), Run.Spec(prompts, _work["out"]));
        Assert.Equal((JobState.Completed, 15L), (result.State, result.Progress.Written));
        JsonElement[] samples = Samples("out");
        (string a, string b) = (Sha(Png(8, 8)), Sha(Png(12, 12)));
        Assert.Equal(
            [$"{a} 1.5", $"{a} 3", $"{a} {b} 2", "none", $"{a} 1"],
            samples.Where(sample => sample.GetProperty("sample_index").GetInt32() == 0).Select(sample => sample.TryGetProperty("images", out JsonElement images)
                ? $"{string.Join(' ', images.EnumerateArray())} {sample.GetProperty("image_guidance").GetRawText()}" : "none"));
        Assert.Equal(["lock"], Directory.EnumerateFileSystemEntries(_work["out/.farm"]).Select(Path.GetFileName)); // its copies are gone with the rest of the work

        Run.Job(Toy(), Run.Spec(prompts, _work["other"]) with { ImageGuidanceScale = 4 });
        Assert.Equal([4, 4, 2, 1], Samples("other").Where(sample => sample.GetProperty("sample_index").GetInt32() == 0 && sample.TryGetProperty("images", out _))
            .Select(sample => sample.GetProperty("image_guidance").GetDouble()));
        Assert.Equal(3, Samples("out").Zip(Samples("other")).Count(pair => pair.First.GetProperty("sha256").GetString() == pair.Second.GetProperty("sha256").GetString()
            && pair.First.GetProperty("prompt").GetString() == "only text"));
    }

    [Fact]
    public async Task A_line_whose_picture_cannot_be_used_fails_alone_with_its_reason()
    {
        File.WriteAllBytes(_work["cut.png"], Png(40, 40)[..^30]);
        File.WriteAllText(_work["text.png"], "no picture");
        File.WriteAllBytes(_work["bomb.png"], Bomb());
        Directory.CreateDirectory(_work["folder.png"]);
        string[] lines =
        [
            """{"prompt":"good","images":["a.png"]}""", """{"prompt":"x","images":["gone.png"]}""", """{"prompt":"x","images":["a.png","cut.png"]}""",
            """{"prompt":"x","images":["text.png"]}""", """{"prompt":"x","images":["bomb.png"]}""", """{"prompt":"x","images":["small.png"]}""",
            """{"prompt":"x","images":["folder.png"]}""", """{"prompt":"x","images":["data:image/png;base64,%%%"]}""", """{"prompt":"x","images":["data:,abc"]}""",
            """{"prompt":"text"}""",
        ];
        JobSpec spec = Run.Spec(_work.Write("p.jsonl", lines), _work["out"]);
        JobResult result = Run.Job(Toy(), spec);
        Assert.Equal((JobState.CompletedWithErrors, 6L, 24L), (result.State, result.Progress.Written, result.Progress.Failed));
        string[] reasons = [.. result.FailedSamples.Where(failed => failed.SampleIndex == 0).Select(failed => failed.Reason)];
        string[] due = ["gone.png: there is no such file", "cut.png:", "text.png: is not a PNG, JPEG or WebP file", "bomb.png: the picture has 30000 × 30000 pixels",
            "small.png: a picture of 3 x 3 is too small for toys", "folder.png: cannot be read", "the data: URI holds what is no base64", "the data: URI is not of the form"];
        Assert.Equal(due.Length, reasons.Length);
        Assert.All(due.Zip(reasons), pair => Assert.StartsWith(pair.First, pair.Second, StringComparison.Ordinal));

        JobPlanSummary plan = await new EmbeddedFarm(Toy()).PlanAsync(spec with { OutFolder = _work["planned"] }, new FarmOptions(), CancellationToken.None);
        Assert.Equal((9L, 8L), (plan.PromptsWithPictures, plan.UnusablePrompts));
        Assert.Equal("line 2: gone.png: there is no such file", plan.UnusableLines[0]);
        Assert.False(Directory.Exists(_work["planned"]));
    }

    [Fact]
    public void A_model_that_reads_no_pictures_makes_the_other_lines()
    {
        string prompts = _work.Write("p.jsonl", [.. Enumerable.Repeat("""{"prompt":"x","images":["a.png"]}""", 80), """{"prompt":"text"}"""]);
        JobResult result = Run.Job(new ToyModel(), Run.Spec(prompts, _work["out"]) with { ImagesPerPrompt = 1 });
        Assert.Equal((JobState.CompletedWithErrors, 1L, 80L), (result.State, result.Progress.Written, result.Progress.Failed));
        Assert.Equal("the prompt has pictures, and the model reads none", result.FailedSamples[0].Reason);
    }

    [Fact]
    public void Neighbours_slots_and_batches_change_no_byte()
    {
        string prompts = _work.Write("p.jsonl",
            """{"prompt":"red","images":["a.png"]}""", """{"prompt":"text"}""", """{"prompt":"red","images":["b.png"]}""", """{"prompt":"","images":["b.png","a.png"]}""",
            """{"prompt":"unguided","guidance":1}""", """{"prompt":"blue","images":["a.png"],"image_guidance":0}""");
        Run.Job(Toy(), Run.Spec(prompts, _work["one"]), new FarmOptions { Slots = 1, EncodeBatchSize = 1 });
        Run.Job(Toy(), Run.Spec(prompts, _work["two"]), new FarmOptions { Slots = 3, EncodeBatchSize = 8, CacheMemoryBytes = 0 });
        Assert.Equal(Workspace.HashOutput(_work["one"]), Workspace.HashOutput(_work["two"]));
        Assert.Equal(18, Samples("one").Select(sample => sample.GetProperty("sha256").GetString()).Distinct().Count());
    }

    [Fact]
    public void Each_branch_is_encoded_once_for_all_lines_that_share_it()
    {
        var requests = new List<ConditionRequest>();
        var model = new ToyModel { ReadsPictures = true, BeforeEncode = asked => { lock (requests) { requests.AddRange(asked); } } };
        string prompts = _work.Write("p.jsonl",
            """{"prompt":"red","images":["a.png"]}""", """{"prompt":"blue","images":["a.png"]}""", """{"prompt":"","images":["a.png"]}""", """{"prompt":"red"}""",
            """{"prompt":"soft","images":["a.png"],"image_guidance":1}""");
        Run.Job(model, Run.Spec(prompts, _work["out"]));
        string a = Sha(Png(8, 8));
        Assert.Equal(
            [":", $":{a}", ":black 8x8", $"blue:{a}", "red:", $"red:{a}", $"soft:{a}"],
            requests.Select(request => $"{request.Caption}:{string.Join(' ', request.ImageHashes)}").Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_stopped_job_goes_on_to_the_same_bytes_and_a_changed_picture_is_another_job()
    {
        string prompts = _work.Write("p.jsonl", [.. Enumerable.Range(0, 12).Select(i => $$"""{"prompt":"{{i}}","images":["{{"ab"[i % 2]}}.png"]}""")]);
        Run.Job(Toy(), Run.Spec(prompts, _work["whole"]));
        using var stop = new CancellationTokenSource();
        int batches = 0;
        var model = new ToyModel { ReadsPictures = true, BeforeDenoise = (_, _) => { if (Interlocked.Increment(ref batches) == 4) { stop.Cancel(); } } };
        Assert.Equal(JobState.Cancelled, Run.Job(model, Run.Spec(prompts, _work["out"]), cancellationToken: stop.Token).State);
        Assert.Equal(JobState.Completed, Run.Job(Toy(), Run.Spec(prompts, _work["out"])).State);
        Assert.Equal(Workspace.HashOutput(_work["whole"]), Workspace.HashOutput(_work["out"]));

        File.WriteAllBytes(_work["a.png"], Png(8, 8, shade: 7));
        var refused = Assert.Throws<OutFolderConflictException>(() => Run.Job(Toy(), Run.Spec(prompts, _work["out"])));
        Assert.Contains("pictures_sha256", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Literal_prompts_take_pictures_and_a_data_URI_means_the_same_as_its_file()
    {
        var farm = new EmbeddedFarm(Toy());
        var spec = new JobSpec { Prompts = [""], Images = [_work["a.png"]], OutFolder = "unused", ImagesPerPrompt = 2 };
        IReadOnlyList<GeneratedImage> path = await farm.GenerateAsync(spec, new FarmOptions(), null, CancellationToken.None);
        IReadOnlyList<GeneratedImage> uri = await farm.GenerateAsync(
            spec with { Images = ["data:image/png;base64," + Convert.ToBase64String(Png(8, 8))] }, new FarmOptions(), null, CancellationToken.None);
        Assert.Equal(path.Select(image => image.Encoded), uri.Select(image => image.Encoded));
        var none = await Assert.ThrowsAsync<GenerationException>(() => farm.GenerateAsync(spec with { Images = [_work["gone.png"]] }, new FarmOptions(), null, CancellationToken.None));
        Assert.Contains("there is no such file", none.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Black_pictures_names_are_frozen_and_told_from_hashes()
    {
        Assert.Equal("black 640x480", BlackPicture.Name(640, 480));
        Assert.True(BlackPicture.TryParse("black 640x480", out int width, out int height));
        Assert.Equal((640, 480), (width, height));
        Assert.All(new[] { "", "black", "black 0x1", "black 1x-1", "black 1x2x3", "black 70000x1", new string('a', 64) }, name => Assert.False(BlackPicture.TryParse(name, out _, out _)));
    }

    private static ToyModel Toy() => new() { ReadsPictures = true };

    private JsonElement[] Samples(string folder) =>
    [
        .. Directory.EnumerateFiles(_work[folder], "*.tar").Order(StringComparer.Ordinal).SelectMany(WebDatasetShardReader.Read)
            .Select(sample => JsonDocument.Parse(sample.Files.Single(file => file.Extension == "json").Content).RootElement),
    ];

    /// <summary>A PNG that says it has 30,000 × 30,000 pixels.</summary>
    private static byte[] Bomb()
    {
        byte[] png = Png(8, 8);
        byte[] side = [0, 0, 0x75, 0x30];
        side.CopyTo(png, 16);
        side.CopyTo(png, 20);
        uint crc = uint.MaxValue;
        foreach (byte one in png.AsSpan(12, 17)) // type and header, RFC 2083's appendix
        {
            crc ^= one;
            for (int bit = 0; bit < 8; bit++)
            {
                crc = (crc >> 1) ^ (0xEDB8_8320 & (0 - (crc & 1)));
            }
        }

        BinaryPrimitives.WriteUInt32BigEndian(png.AsSpan(29), ~crc);
        return png;
    }
}
