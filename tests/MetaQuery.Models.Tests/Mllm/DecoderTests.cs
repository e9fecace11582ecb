using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.Mllm;

/// <summary>On the tiny checkpoints of the golden cases: what the parity runs do not look at.</summary>
[LeakCheck]
public sealed class DecoderTests
{
    public static TheoryData<string> Cases => ["llama-text", "qwen2-text"];

    private static CausalDecoder Load(string name, bool packed, ScalarType dtype = ScalarType.Float32)
    {
        var folder = HuggingFaceFolder.Open(Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", name, "model"));
        using var weights = folder.OpenWeights();
        return CausalDecoder.Load(DecoderConfig.FromTransformers(folder.ReadConfig()), weights, dtype, packed: packed);
    }

    private static long[] Ids(CausalDecoder decoder, int count, int seed)
    {
        var random = new Random(seed);
        return [.. Enumerable.Range(0, count).Select(_ => random.NextInt64(decoder.Config.VocabularySize))];
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_packed_sequence_has_the_same_bits_alone_and_among_others(string name)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var decoder = Load(name, packed: true);
        int[] lengths = [1, 7, 40, 3, 16, 33, 2];
        var rows = lengths.Select((length, i) => decoder.Embed(tensor(Ids(decoder, length, i), [1, length])).squeeze(0)).ToList();
        long[] offsets = [0, .. lengths.Select((_, i) => (long)lengths.Take(i + 1).Sum())];
        var together = decoder.ForwardSequences(cat(rows, 0), offsets);
        for (var i = 0; i < rows.Count; i++)
        {
            var alone = decoder.ForwardSequences(rows[i], [0, lengths[i]]);
            Assert.Equal(alone.bytes.ToArray(), together.narrow(0, offsets[i], lengths[i]).contiguous().bytes.ToArray());
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void A_cached_prefix_gives_the_bits_of_one_pass(string name)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var decoder = Load(name, packed: true);
        var embeddings = decoder.Embed(tensor(Ids(decoder, 45, 1), [1, 45])).squeeze(0);
        var whole = decoder.ForwardSequences(embeddings, [0, 45]);
        using var cache = decoder.NewPackedCache();
        _ = decoder.ForwardSequences(embeddings.narrow(0, 0, 30).contiguous(), [0, 30], cache, append: true);
        var shared = decoder.ForwardSequences(embeddings.narrow(0, 30, 15).contiguous(), [0, 15], cache); // reads the cache, leaves it
        Assert.Equal(30, cache.Length);
        for (var at = 30; at < 45; at++)
        {
            var token = decoder.ForwardSequences(embeddings.narrow(0, at, 1).contiguous(), [0, 1], cache, append: true);
            Assert.Equal(whole.narrow(0, at, 1).contiguous().bytes.ToArray(), token.bytes.ToArray());
        }

        Assert.Equal(whole.narrow(0, 30, 15).contiguous().bytes.ToArray(), shared.bytes.ToArray());
        cache.Truncate(30);
        var again = decoder.ForwardSequences(embeddings.narrow(0, 30, 15).contiguous(), [0, 15], cache, append: true);
        Assert.Equal(shared.bytes.ToArray(), again.bytes.ToArray());
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Bfloat16_weights_stay_near_float32(string name)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var exact = Load(name, packed: true);
        var ids = tensor(Ids(exact, 20, 2), [1, 20]);
        var expected = exact.ForwardSequences(exact.Embed(ids).squeeze(0), [0, 20]);
        foreach (var packed in new[] { false, true })
        {
            using var rounded = Load(name, packed, ScalarType.BFloat16);
            var mask = ones_like(ids);
            var actual = packed
                ? rounded.ForwardSequences(rounded.Embed(ids).squeeze(0), [0, 20])
                : rounded.Forward(rounded.Embed(ids), Attention.Positions(mask), Attention.CausalMask(mask, 20)).squeeze(0);
            // Each product's inputs are rounded to 2^-9; over three layers with sharp attention the errors add up to about one per cent.
            var error = (actual - expected).norm().item<float>() / expected.norm().item<float>();
            Assert.InRange(error, 1e-6f, 0.05f);
        }
    }

    [Fact]
    public void The_plain_cache_continues_a_padded_batch_like_one_pass()
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var decoder = Load("qwen2-text", packed: false);
        var ids = tensor(Ids(decoder, 24, 3), [2, 12]);
        var mask = tensor(Enumerable.Repeat(1L, 12).Concat([0L, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1]).ToArray(), [2, 12]);
        var whole = decoder.Logits(decoder.Forward(decoder.Embed(ids), Attention.Positions(mask), Attention.CausalMask(mask, 12)).select(1, 11));
        using var continuation = new Continuation(decoder);
        _ = continuation.Read(ids.narrow(1, 0, 8), mask.narrow(1, 0, 8));
        _ = continuation.Read(ids.narrow(1, 8, 1));
        continuation.Truncate(8);
        _ = continuation.Read(ids.narrow(1, 8, 3));
        var last = continuation.Read(ids.narrow(1, 11, 1));
        Assert.True((whole - last).abs().max().item<float>() < 1e-4f);
    }

    [Fact]
    public void A_missing_tensor_is_named_and_nothing_leaks()
    {
        var folder = HuggingFaceFolder.Open(Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "qwen2-text", "model"));
        using var weights = folder.OpenWeights();
        var config = DecoderConfig.FromTransformers(folder.ReadConfig());
        foreach (var packed in new[] { false, true })
        {
            var missing = Assert.Throws<CheckpointException>(() => CausalDecoder.Load(config with { NumHiddenLayers = 4 }, weights, packed: packed));
            Assert.Contains("model.layers.3.self_attn.q_proj.weight", missing.Message, StringComparison.Ordinal);
            var misshapen = Assert.Throws<CheckpointException>(() => CausalDecoder.Load(config with { IntermediateSize = 80 }, weights, packed: packed));
            Assert.Contains("mlp.gate_proj.weight", misshapen.Message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Sequences_that_do_not_cover_the_tokens_are_refused()
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var decoder = Load("qwen2-text", packed: true);
        var embeddings = zeros(5, decoder.Config.HiddenSize);
        Assert.Throws<ArgumentException>(() => decoder.ForwardSequences(embeddings, [0, 4]));
        using var cache = decoder.NewPackedCache();
        Assert.Throws<ArgumentException>(() => decoder.ForwardSequences(embeddings, [0, 2, 5], cache, append: true));
    }
}
