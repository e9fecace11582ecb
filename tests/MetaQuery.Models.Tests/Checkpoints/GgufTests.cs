using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.Checkpoints;

[LeakCheck]
public sealed class GgufTests
{
    [Theory]
    [InlineData(2, 32)]
    [InlineData(3, 32)]
    [InlineData(3, 64)]
    [InlineData(3, 8)]
    public void Metadata_of_every_type_and_every_tensor_are_read_whatever_version_and_alignment(uint version, int alignment)
    {
        using var file = GgufFile.Parse("sample.gguf", GgufSamples.EveryType(version, alignment).Build());
        Assert.Equal(version, file.Version);
        Assert.Equal(250, file.Require("u8").AsInt64());
        Assert.Equal(-6, file.Require("i8").AsInt64());
        Assert.Equal(0xff01, file.Require("u16").AsInt64());
        Assert.Equal(-255, file.Require("i16").AsInt64());
        Assert.Equal(-7, file.Require("i32").AsInt64());
        Assert.Equal(1.5, file.Require("f32").AsDouble());
        Assert.True(file.Require("bool").AsBool());
        Assert.Equal("18446744073709551615", file.Require("u64").ToString());
        Assert.Equal(long.MinValue, file.Require("i64").AsInt64());
        Assert.Equal(-2.25, file.Require("f64").AsDouble());
        Assert.Equal(["", "é", "third"], file.Require("texts").AsStrings());
        Assert.Equal([1, -2, 3], file.Require("i32s").AsInt64s());
        Assert.Equal([0.5, -1], file.Require("f32s").AsDoubles());
        Assert.Equal([true, false, true], file.Require("bools").AsArray().Select(value => value.AsBool()));
        Assert.Empty(file.Require("none").AsStrings());
        var nested = file.Require("nested").AsArray();
        Assert.Equal(["a", "bc"], nested[0].AsStrings());
        Assert.Equal([1, 2], nested[1].AsArray()[0].AsInt64s());
        Assert.Equal([], file.Describe("scalar").Shape);
        Assert.Equal([0, 3], file.Describe("empty").Shape);
        using var scalar = file.Load("scalar");
        using var empty = file.Load("empty");
        Assert.Equal((1f, 0L), (scalar.item<float>(), empty.numel()));
        foreach (string key in file.Keys)
            file.Load(key).Dispose();
    }

    [Theory]
    [InlineData("Q8_0")]
    [InlineData("Q4_0")]
    [InlineData("Q4_1")]
    [InlineData("Q5_0")]
    [InlineData("Q5_1")]
    [InlineData("Q4_K")]
    [InlineData("Q5_K")]
    [InlineData("Q6_K")]
    public void Vectorised_blocks_equal_the_plain_formula_bit_for_bit(string type)
    {
        byte[] data = GgufSamples.RandomBlocks(new Random(11), type, 96 * GgufBuilder.Types[type].Bytes);
        float[] expected = ScalarBlocks.Decode(type, data);
        using var file = GgufFile.Parse("blocks.gguf", new GgufBuilder().Tensor("w", type, [3, expected.Length / 3], data).Build());
        using var tensor = file.Load("w");
        Assert.Equal([3, expected.Length / 3], tensor.shape);
        Assert.Equal(expected.Select(Bits), tensor.data<float>().Select(Bits));
        Assert.Contains(expected, float.IsNaN);
        Assert.Contains(expected, float.IsInfinity);

        using var rounded = file.Load("w", ScalarType.BFloat16);
        using Tensor reference = tensor.to(ScalarType.BFloat16), wide = rounded.to(ScalarType.Float32), wideReference = reference.to(ScalarType.Float32);
        Assert.Equal(ScalarType.BFloat16, rounded.dtype);
        Assert.Equal(wideReference.data<float>().Select(Bits), wide.data<float>().Select(Bits));
    }

    [Fact]
    public void Rows_decoded_by_several_threads_are_the_rows_decoded_by_one()
    {
        byte[] data = GgufSamples.RandomBlocks(new Random(3), "Q4_1", 20 * 16 * 1031, ordinary: true);
        byte[] bytes = new GgufBuilder().Tensor("w", "Q4_1", [1031, 512], data).Build();
        string path = Path.Combine(Path.GetTempPath(), $"{Guid.NewGuid():N}.gguf");
        try
        {
            File.WriteAllBytes(path, bytes);
            using var alone = GgufFile.Open(path);
            using var together = GgufFile.Open(path, decodeThreads: 3);
            using Tensor one = alone.Load("w"), three = together.Load("w");
            Assert.Equal(one.bytes.ToArray(), three.bytes.ToArray());
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public void Llama_rows_of_q_and_k_come_back_in_the_order_of_Hugging_Face()
    {
        // What llama.cpp's converter does: [heads, 2, half] -> [heads, half, 2].
        const int Heads = 4, KeyHeads = 2, Half = 3, Columns = 5;
        float[] q = Rows(Heads * 2 * Half), k = Rows(KeyHeads * 2 * Half);
        byte[] bytes = new GgufBuilder().Text("general.architecture", "llama").UInt32("llama.attention.head_count", Heads).UInt32("llama.attention.head_count_kv", KeyHeads)
            .Tensor("blk.7.attn_q.weight", "F32", [Heads * 2 * Half, Columns], Interleaved(q, Heads))
            .Tensor("blk.7.attn_k.weight", "F32", [KeyHeads * 2 * Half, Columns], Interleaved(k, KeyHeads))
            .Tensor("blk.7.attn_v.weight", "F32", [KeyHeads * 2 * Half, Columns], [.. k.SelectMany(BitConverter.GetBytes)])
            .Tensor("rope_freqs.weight", "F32", [1], new byte[4]).Build();
        using var weights = GgufFile.Parse("llama.gguf", bytes).AsHuggingFace();
        Assert.Equal(["model.layers.7.self_attn.q_proj.weight", "model.layers.7.self_attn.k_proj.weight", "model.layers.7.self_attn.v_proj.weight"], weights.Keys);
        using Tensor query = weights.Load("model.layers.7.self_attn.q_proj.weight"), key = weights.Load("model.layers.7.self_attn.k_proj.weight"), value = weights.Load("model.layers.7.self_attn.v_proj.weight");
        Assert.Equal(q, query.data<float>());
        Assert.Equal(k, key.data<float>());
        Assert.Equal(k, value.data<float>());

        static float[] Rows(int rows) => [.. Enumerable.Range(0, rows * Columns).Select(i => (float)i)];

        static byte[] Interleaved(float[] rows, int heads)
        {
            var order = from head in Enumerable.Range(0, heads) from i in Enumerable.Range(0, Half) from side in Enumerable.Range(0, 2) select (head * 2 * Half) + (side * Half) + i;
            return [.. order.SelectMany(row => rows.Skip(row * Columns).Take(Columns)).SelectMany(BitConverter.GetBytes)];
        }
    }

    [Fact]
    public void Quantised_rows_are_reordered_while_they_are_decoded()
    {
        byte[] data = GgufSamples.RandomBlocks(new Random(8), "Q8_0", 34 * 8, ordinary: true);
        float[] stored = ScalarBlocks.Decode("Q8_0", data);
        byte[] bytes = new GgufBuilder().Text("general.architecture", "llama").UInt32("llama.attention.head_count", 2).UInt32("llama.attention.head_count_kv", 2)
            .Tensor("blk.0.attn_q.weight", "Q8_0", [8, 32], data).Build();
        using var weights = GgufFile.Parse("llama.gguf", bytes).AsHuggingFace();
        using var tensor = weights.Load("model.layers.0.self_attn.q_proj.weight");
        Assert.Equal(new[] { 0, 2, 1, 3, 4, 6, 5, 7 }.SelectMany(row => stored.Skip(row * 32).Take(32)), tensor.data<float>());
    }

    [Fact]
    public void The_shipped_language_model_opens_under_Hugging_Face_names()
    {
        using var gguf = GgufFile.Open(GgufSamples.NanoPath);
        using var weights = gguf.AsHuggingFace();
        Assert.Equal("apache-2.0", gguf.Require("general.license").AsString());
        Assert.Equal(49152, gguf.Require("tokenizer.ggml.tokens").Count);
        Assert.Equal(gguf.Keys.Count, weights.Keys.Count);
        long layers = gguf.Require("llama.block_count").AsInt64(), width = gguf.Require("llama.embedding_length").AsInt64();
        Assert.Equal([49152, width], weights.Describe("model.embed_tokens.weight").Shape);
        Assert.Equal([width], weights.Describe($"model.layers.{layers - 1}.input_layernorm.weight").Shape);
        using var part = weights.Load("model.layers.3.self_attn.k_proj.weight");
        Assert.Equal([192, width], part.shape);
    }

    [Fact]
    public void Opening_reads_the_header_alone_and_leaves_the_vocabulary_where_it_is()
    {
        GgufFile.Open(GgufSamples.NanoPath).Dispose();
        long before = GC.GetAllocatedBytesForCurrentThread();
        GgufFile.Open(GgufSamples.NanoPath).Dispose();
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(allocated < 8 << 20, $"{allocated} bytes were allocated to open a file whose header has 2 MB");
    }

    [Theory]
    [InlineData("general.architecture", "AsInt64", "\"general.architecture\" is String, an integer was expected")]
    [InlineData("texts", "AsInt64s", "\"texts\" is an array of String, an array of integers was expected")]
    [InlineData("u64", "AsInt64", "beyond 63 bits")]
    [InlineData("absent", "AsString", "\"absent\" is missing")]
    public void Metadata_of_another_type_is_refused_by_name(string key, string method, string reason)
    {
        using var file = GgufFile.Parse("sample.gguf", GgufSamples.EveryType().Build());
        var error = Assert.Throws<CheckpointException>(() => _ = method switch
        {
            "AsInt64" => file.Require(key).AsInt64(),
            "AsInt64s" => file.Require(key).AsInt64s()[0],
            _ => file.Require(key).AsString().Length,
        });
        Assert.StartsWith("sample.gguf: ", error.Message, StringComparison.Ordinal);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Malformed_files_are_refused_with_file_tensor_and_reason()
    {
        byte[] good = new GgufBuilder().Tensor("w", "Q8_0", [2, 32], new byte[68]).Build();
        AssertRefused([], "the file ends at byte 0");
        AssertRefused([.. "GGML"u8, .. good[4..]], "does not begin with \"GGUF\"");
        AssertRefused([.. good[..4], 1, 0, 0, 0, .. good[8..]], "version 1 is not supported");
        AssertRefused([.. good[..4], 0, 0, 0, 3, .. good[8..]], "big-endian");
        AssertRefused(good[..^1], "tensor \"w\": its 68 bytes from 0 on reach past the end");
        AssertRefused(new GgufBuilder().Tensor("w", "Q8_0", [2, 33], new byte[68]).Build(), "rows of 33 elements are no whole number of Q8_0 blocks");
        AssertRefused(new GgufBuilder().Tensor("w", "F32", [1], new byte[4]).Tensor("w", "F32", [1], new byte[4]).Build(), "the name stands twice");
        AssertRefused(new GgufBuilder().Text("a", "x").Text("a", "y").Build(), "the metadata key \"a\" stands twice");
        AssertRefused(new GgufBuilder().Tensor("w", "F32", [1L << 31, 1L << 31, 2], new byte[4]).Build(), "beyond 63 bits");
        AssertRefused(new GgufBuilder().Value("a", 13, _ => { }).Build(), "unknown value type 13");
        AssertRefused(new GgufBuilder().Value("a", 9, b => b.Array(8, 1 << 30, () => { })).Build(), "claims 1073741824 elements");
        AssertRefused(new GgufBuilder(alignment: 24, statesAlignment: true).Build(), "general.alignment is 24");
        AssertRefused(new GgufBuilder().Value("a", 7, b => b.Number([2])).Build(), "a boolean other than 0 and 1");
        AssertRefused(new GgufBuilder().Value("a", 9, b => Nest(b, 30)).Build(), "nests arrays more than 8 deep");

        static void AssertRefused(byte[] bytes, string reason)
        {
            var error = Assert.Throws<CheckpointException>(() => GgufFile.Parse("bad.gguf", bytes).Dispose());
            Assert.StartsWith("bad.gguf: ", error.Message, StringComparison.Ordinal);
            Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        }

        static void Nest(GgufBuilder builder, int depth) => builder.Array(depth == 0 ? 4u : 9u, depth == 0 ? 0 : 1, () =>
        {
            if (depth > 0)
                Nest(builder, depth - 1);
        });
    }

    [Fact]
    public void The_shipped_language_models_first_rows_are_those_of_the_reference_dequantiser()
    {
        using var samples = SafetensorsFile.Open(Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "smollm2-135m", "dequant_samples.safetensors"));
        using var file = GgufFile.Open(GgufSamples.NanoPath);
        string[] decoded = [.. samples.Keys.Where(key => key.EndsWith(".fp32", StringComparison.Ordinal))]; // TYPE.NAME.fp32 beside TYPE.NAME.raw
        Assert.NotEmpty(decoded);
        foreach (string key in decoded)
        {
            string name = key[(key.IndexOf('.', StringComparison.Ordinal) + 1)..^".fp32".Length];
            using Tensor expected = samples.Load(key), raw = samples.Load(key[..^".fp32".Length] + ".raw"), actual = file.Load(name);
            Assert.Equal(key[..key.IndexOf('.', StringComparison.Ordinal)], file.Describe(name).StoredType);
            Assert.Equal(expected.data<float>(), actual.data<float>().Take((int)expected.numel()));
            byte[] stored = new byte[raw.numel()];
            file.ReadStored(name, stored);
            Assert.Equal(raw.data<byte>(), stored);
        }
    }

    [Fact]
    public void The_shipped_language_model_is_decoded_to_bfloat16_by_two_threads()
    {
        using var file = GgufFile.Open(GgufSamples.NanoPath, decodeThreads: 2);
        using Tensor rounded = file.Load("token_embd.weight", ScalarType.BFloat16), last = rounded.narrow(0, rounded.shape[0] - 3, 3), rows = last.to(ScalarType.Float32);
        byte[] stored = new byte[file.Describe("token_embd.weight").StoredBytes];
        file.ReadStored("token_embd.weight", stored);
        float[] expected = ScalarBlocks.Decode("Q8_0", stored.AsSpan(^(3 * 18 * 34)..));
        using Tensor plain = tensor(expected), reference = plain.to(ScalarType.BFloat16), wide = reference.to(ScalarType.Float32);
        Assert.Equal(wide.data<float>(), rows.data<float>());
    }

    static int Bits(float value) => float.IsNaN(value) ? int.MinValue + 1 : BitConverter.SingleToInt32Bits(value);
}
