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
}
