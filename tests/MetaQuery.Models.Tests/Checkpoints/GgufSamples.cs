using System.Buffers.Binary;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;

namespace MetaQuery.Models.Tests.Checkpoints;

/// <summary>Small GGUF files.</summary>
static class GgufSamples
{
    public static string NanoPath { get; } = Directory.GetFiles(Path.Combine(RepositoryFolders.NanoModel, "mllm"), "*.gguf").Single();

    /// <summary>Metadata of every type, and a tensor of every type that is decoded.</summary>
    public static GgufBuilder EveryType(uint version = 3, int alignment = 64)
    {
        var builder = new GgufBuilder(version, alignment, statesAlignment: true)
            .Text("general.architecture", "llama").UInt32("llama.attention.head_count", 4).UInt32("llama.attention.head_count_kv", 2)
            .Value("u8", 0, b => b.Number([250])).Value("i8", 1, b => b.Number([250])).Value("u16", 2, b => b.Number([1, 255])).Value("i16", 3, b => b.Number([1, 255]))
            .Value("i32", 5, b => b.Number(BitConverter.GetBytes(-7))).Value("f32", 6, b => b.Number(BitConverter.GetBytes(1.5f))).Value("bool", 7, b => b.Number([1]))
            .Value("u64", 10, b => b.Number(BitConverter.GetBytes(ulong.MaxValue))).Value("i64", 11, b => b.Number(BitConverter.GetBytes(long.MinValue)))
            .Value("f64", 12, b => b.Number(BitConverter.GetBytes(-2.25))).Texts("texts", "", "é", "third")
            .Value("i32s", 9, b => b.Array(5, 3, () => b.Number([.. new[] { 1, -2, 3 }.SelectMany(BitConverter.GetBytes)])))
            .Value("f32s", 9, b => b.Array(6, 2, () => b.Number([.. new[] { 0.5f, -1f }.SelectMany(BitConverter.GetBytes)])))
            .Value("bools", 9, b => b.Array(7, 3, () => b.Number([1, 0, 1])))
            .Value("none", 9, b => b.Array(8, 0, () => { }))
            .Value("nested", 9, b => b.Array(9, 2, () =>
            {
                b.Array(8, 2, () => { b.Text("a"); b.Text("bc"); });
                b.Array(9, 1, () => b.Array(4, 2, () => b.Number([1, 0, 0, 0, 2, 0, 0, 0])));
            }));
        var random = new Random(5);
        foreach (var (type, (_, elements, bytes)) in GgufBuilder.Types)
            builder.Tensor($"blk.0.{type}.weight", type, [2, elements], RandomBlocks(random, type, 2 * bytes));
        return builder.Tensor("scalar", "F32", [], [0, 0, 128, 63]).Tensor("empty", "F32", [0, 3], []);
    }

    /// <summary>The shipped language model's first rows: a real file's values in a few kilobytes.</summary>
    public static GgufBuilder CutFromNano()
    {
        using var nano = GgufFile.Open(NanoPath);
        var builder = new GgufBuilder();
        foreach (string key in new[] { "general.architecture", "general.license", "tokenizer.ggml.pre", "tokenizer.chat_template" })
            builder.Text(key, nano.Require(key).AsString());
        builder.UInt32("llama.attention.head_count", 9).Texts("tokenizer.ggml.tokens", nano.Require("tokenizer.ggml.tokens").AsStrings()[..20]);
        foreach (string key in new[] { "blk.0.attn_norm.weight", "blk.0.attn_k.weight", "token_embd.weight" })
        {
            var info = nano.Describe(key);
            long rows = info.Shape.Count == 1 ? 1 : 2;
            byte[] data = new byte[info.StoredBytes / (info.Shape.Count == 1 ? 1 : info.Shape[0]) * rows];
            nano.ReadStored(key, data);
            builder.Tensor(key, info.StoredType, info.Shape.Count == 1 ? [info.Shape[0]] : [rows, info.Shape[1]], data);
        }
        return builder;
    }

    /// <summary>Random blocks whose scales are ordinary numbers, now and then a zero, an infinity or a NaN.</summary>
    public static byte[] RandomBlocks(Random random, string type, int byteCount, bool ordinary = false)
    {
        byte[] data = new byte[byteCount];
        random.NextBytes(data);
        int block = GgufBuilder.Types[type].Bytes;
        int[] scales = type switch { "Q8_0" or "Q4_0" or "Q5_0" => [0], "Q4_1" or "Q5_1" or "Q4_K" or "Q5_K" => [0, 2], "Q6_K" => [208], _ => [] };
        for (int at = 0; at < byteCount && scales.Length > 0; at += block)
        {
            foreach (int scale in scales)
            {
                float value = ordinary ? random.NextSingle() - 0.5f : random.Next(12) switch { 0 => 0, 1 => float.PositiveInfinity, 2 => float.NaN, 3 => 6e-8f, _ => random.NextSingle() - 0.5f };
                BinaryPrimitives.WriteHalfLittleEndian(data.AsSpan(at + scale), (Half)value);
            }
        }
        return data;
    }
}
