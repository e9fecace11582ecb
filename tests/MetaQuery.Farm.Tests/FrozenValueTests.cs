using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>What is written to disk or shapes every image may not move: a failure here is a change of format, which needs a new version.</summary>
public sealed class FrozenValueTests
{
    private static readonly ConditionIdentity Identity = new("rev", "tok", "template", "system", 16, "bfloat16", "numerics", 10_240);

    // the values of this class were computed apart, from the documentation of the types alone
    [Fact]
    public void Condition_keys_are_frozen()
    {
        Assert.Equal("3fd2f50f64b39e7a273ffccdd2a8fdbb82f4b25c080f75b2d22496337b523247", ConditionKey.Create(Identity, new ConditionRequest("a red apple")).ToString());
        Assert.Equal("c237744b366754ecc39e8a3f40e9d0a328a921a81ce3d743ab14644e5d4b0ae9", ConditionKey.Create(Identity, new ConditionRequest("")).ToString());
        Assert.Equal("281fb6082bc79d44b9a69c3a8f17a75bd44e7be6a9289d803bbf82d93130df13", ConditionKey.Create(Identity, new ConditionRequest("a red apple", ["00", "ff"])).ToString());
    }

    [Fact]
    public void Every_part_of_the_identity_and_the_request_changes_the_key()
    {
        var request = new ConditionRequest("caption", ["hash"]);
        ConditionKey[] keys =
        [
            ConditionKey.Create(Identity, request),
            ConditionKey.Create(Identity with { ModelRevision = "rev2" }, request),
            ConditionKey.Create(Identity with { Tokenizer = "tok2" }, request),
            ConditionKey.Create(Identity with { ChatTemplate = "template2" }, request),
            ConditionKey.Create(Identity with { SystemPrompt = "system2" }, request),
            ConditionKey.Create(Identity with { QueryTokens = 17 }, request),
            ConditionKey.Create(Identity with { Dtype = "float32" }, request),
            ConditionKey.Create(Identity with { Numerics = "other" }, request),
            ConditionKey.Create(Identity with { ConditionBytes = 1 }, request),
            ConditionKey.Create(Identity, request with { Caption = "caption2" }),
            ConditionKey.Create(Identity, request with { ImageHashes = [] }),
            ConditionKey.Create(Identity, request with { ImageHashes = ["hash", "hash"] }),
            // length prefixes: the same text split elsewhere is another key
            ConditionKey.Create(Identity with { ModelRevision = "revt", Tokenizer = "ok" }, request),
            ConditionKey.Create(Identity, new ConditionRequest("captionh", ["ash"])),
        ];
        Assert.Equal(keys.Length, keys.Distinct().Count());
        Assert.Equal(keys.Length, keys.Select(key => key.ToString()).Distinct().Count());
    }

    [Theory]
    [InlineData(0, 0, 0, 1797973219037899583UL)]
    [InlineData(0, 0, 1, 7791954075150278181UL)]
    [InlineData(0, 1, 0, 13171778405553548943UL)]
    [InlineData(42, 999_999, 3, 2572438663648823357UL)]
    [InlineData(ulong.MaxValue, 7, 0, 13328858472933811647UL)]
    public void Image_seeds_are_frozen(ulong jobSeed, long promptIndex, int sampleIndex, ulong expected) =>
        Assert.Equal(expected, ImageSeed.ForPrompt(jobSeed, promptIndex, sampleIndex));

    [Theory]
    [InlineData(0, 0, 9025689840830669527UL)]
    [InlineData(42, 3, 4760384506854163417UL)]
    public void Image_seeds_of_a_line_with_its_own_seed_are_frozen(ulong lineSeed, int sampleIndex, ulong expected) =>
        Assert.Equal(expected, ImageSeed.ForLine(lineSeed, sampleIndex));

    [Fact]
    public void Image_seeds_do_not_collide_among_neighbours()
    {
        var seeds = new HashSet<ulong>();
        for (ulong job = 0; job < 4; job++)
        {
            for (int prompt = 0; prompt < 2_500; prompt++)
            {
                for (int sample = 0; sample < 4; sample++)
                {
                    Assert.True(seeds.Add(ImageSeed.ForPrompt(job, prompt, sample)));
                }
            }
        }

        for (ulong line = 0; line < 2_500; line++)
        {
            Assert.True(seeds.Add(ImageSeed.ForLine(line, 0)));
        }
    }

    [Fact]
    public void The_numerics_fingerprint_is_frozen() => Assert.Equal(
        "dtype=bfloat16;cpu=avx512;threads=1;library=libtorch 1.13.1;kernels=amx-bf16",
        new NumericsFingerprint("bfloat16", "avx512", 1, "libtorch 1.13.1", "amx-bf16").ToString());

    [Fact]
    public void A_jobs_hash_is_frozen()
    {
        using var work = new Workspace();
        IFarmModel model = new ToyModel();
        var spec = new JobSpec { Prompts = ["a", "b"], OutFolder = work["out"], Seed = 3, NegativePrompt = "blurred" };
        JobPlan plan = JobPlan.Create(spec, model.CreateEncoder().Identity, model.CreateDenoiser().Info, CancellationToken.None);
        JobIdentity identity = JobIdentity.Create(plan);
        Assert.Equal("21b21fd6dce0387ec2de5a08dd862dcf0447ce8fae143aa7de0f71301522c543", identity.Hash);
        (JobIdentity parsed, IReadOnlyList<string> numerics) = JobIdentity.Parse(identity.ToJson(["one", "two"]), "job.json");
        Assert.Equal(identity.Hash, parsed.Hash);
        Assert.Empty(identity.DifferencesFrom(parsed));
        Assert.Equal(["one", "two"], numerics);
    }

    [Fact]
    public void A_jobs_record_in_the_journal_is_frozen()
    {
        var record = new JobRecord
        {
            Id = "job_1", Name = "n", Tenant = "t", Kind = JobKind.Request, Priority = JobPriority.Interactive, State = JobState.CompletedWithErrors, Reason = "r",
            CreatedAt = DateTimeOffset.UnixEpoch, StartedAt = DateTimeOffset.UnixEpoch, FinishedAt = DateTimeOffset.UnixEpoch, Deadline = DateTimeOffset.UnixEpoch,
            TaskTimeout = TimeSpan.FromSeconds(90), IdempotencyKey = "k", ContentHash = "h", PromptsFormat = "literal", SkipInvalid = true, Dtype = "float32",
            Settings = new ResolvedSettings(new ImageSize(8, 16), 4, 4.5f, "no", ulong.MaxValue, 3, 7, Imaging.ImageFormat.Webp, 90, 4),
            Prompts = 2, Images = 6, SkippedLines = ["line 2: bad"],
            Lane = new JobLane("lane", "numerics", "float32/bfloat16", new NumericsFingerprint("float32", "avx512", 1, "library", "kernels")),
            RetriesFailed = true, Counts = new JobCounts(2, 6, 6, 6, 5, 5, 1),
        };
        const string frozen = """
            {"version":1,"id":"job_1","name":"n","tenant":"t","kind":"request","priority":"interactive","state":"completed_with_errors","reason":"r",
            "created_at":"1970-01-01T00:00:00+00:00","started_at":"1970-01-01T00:00:00+00:00","finished_at":"1970-01-01T00:00:00+00:00","deadline":"1970-01-01T00:00:00+00:00",
            "task_timeout":"00:01:30","idempotency_key":"k","content_hash":"h","prompts_format":"literal","skip_invalid":true,"dtype":"float32",
            "settings":{"size":{"height_pixels":8,"width_pixels":16},"num_inference_steps":4,"guidance_scale":4.5,"negative_prompt":"no","seed":18446744073709551615,
            "images_per_prompt":3,"samples_per_shard":7,"format":"webp","quality":90,"batch_size":4},"prompts":2,"images":6,"skipped_lines":["line 2: bad"],
            "lane":{"name":"lane","condition_numerics":"numerics","condition_dtype":"float32/bfloat16",
            "numerics":{"dtype":"float32","cpu_capability":"avx512","threads_per_slot":1,"tensor_library":"library","kernel_path":"kernels"}},
            "retries_failed":true,"counts":{"prompts":2,"images":6,"planned":6,"encoded":6,"denoised":5,"written":5,"failed":1}}
            """;
        string text = frozen.ReplaceLineEndings("");
        Assert.Equal(text, System.Text.Encoding.UTF8.GetString(record.ToBytes()));
        JobRecord parsed = JobRecord.Parse(System.Text.Encoding.UTF8.GetBytes(text));
        Assert.Equal(record with { SkippedLines = [] }, parsed with { SkippedLines = [] });
        Assert.Equal(record.SkippedLines, parsed.SkippedLines);
        Assert.Throws<JournalDamagedException>(() => JobRecord.Parse(System.Text.Encoding.UTF8.GetBytes(text.Replace("\"version\":1", "\"version\":2", StringComparison.Ordinal))));
    }
}
