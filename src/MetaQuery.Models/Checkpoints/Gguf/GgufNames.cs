using System.Globalization;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>The names that llama.cpp's converters give to a decoder's tensors, and what Hugging Face calls them
/// (llama.cpp <c>gguf-py/gguf/tensor_mapping.py</c>).</summary>
public static class GgufNames
{
    static readonly (string Gguf, string HuggingFace)[] Whole =
    [
        ("token_embd", "model.embed_tokens"), ("output_norm", "model.norm"), ("output", "lm_head"),
    ];

    static readonly (string Gguf, string HuggingFace)[] OfLayer =
    [
        ("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"),
        ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"), ("attn_k_norm", "self_attn.k_norm"),
        ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj"),
    ];

    /// <summary>The Hugging Face name of <paramref name="ggufName"/>, or null for a tensor that is no weight of the decoder
    /// (<c>rope_freqs.weight</c>, say).</summary>
    public static string? ToHuggingFace(string ggufName)
    {
        int dot = ggufName.LastIndexOf('.');
        if (dot < 0 || ggufName[(dot + 1)..] is not ("weight" or "bias"))
            return null;
        string stem = ggufName[..dot], kind = ggufName[dot..];
        if (!stem.StartsWith("blk.", StringComparison.Ordinal))
            return Find(Whole, stem) is { } whole ? whole + kind : null;
        int end = stem.IndexOf('.', 4);
        if (end < 0 || !int.TryParse(stem.AsSpan(4, end - 4), NumberStyles.None, CultureInfo.InvariantCulture, out int layer))
            return null;
        return Find(OfLayer, stem[(end + 1)..]) is { } part ? $"model.layers.{layer}.{part}{kind}" : null;
    }

    /// <summary>The file under Hugging Face's names and with its order of rows: llama's converter interleaves the two halves of each head's
    /// rows in q and k (its <c>permute</c>), Qwen2's does not. Disposing the view disposes the file.</summary>
    /// <exception cref="CheckpointException">The metadata lacks the architecture or its numbers of heads.</exception>
    public static WeightSource AsHuggingFace(this GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        string architecture = file.Require("general.architecture").AsString();
        if (architecture is not "llama")
            return new HuggingFaceGguf(file, queryHeads: 0, keyHeads: 0);
        long heads = file.Require("llama.attention.head_count").AsInt64();
        long keyHeads = file.Metadata.TryGetValue("llama.attention.head_count_kv", out var value) ? value.AsInt64() : heads;
        if (heads <= 0 || keyHeads <= 0)
            throw CheckpointException.OfFile(file.Path, $"the metadata states {heads} heads and {keyHeads} key heads");
        return new HuggingFaceGguf(file, heads, keyHeads);
    }

    static string? Find((string Gguf, string HuggingFace)[] names, string gguf)
    {
        foreach (var (name, huggingFace) in names)
        {
            if (name.Equals(gguf, StringComparison.Ordinal))
                return huggingFace;
        }
        return null;
    }

    sealed class HuggingFaceGguf : WeightSource
    {
        readonly GgufFile file;
        readonly long queryHeads;
        readonly long keyHeads;
        readonly Dictionary<string, string> ggufNames = [];

        public HuggingFaceGguf(GgufFile file, long queryHeads, long keyHeads)
        {
            (this.file, this.queryHeads, this.keyHeads) = (file, queryHeads, keyHeads);
            foreach (string name in file.Keys)
            {
                if (ToHuggingFace(name) is { } key)
                    ggufNames[key] = name;
            }
        }

        public override string Path => file.Path;

        public override IReadOnlyCollection<string> Keys => ggufNames.Keys;

        public override bool Contains(string key) => ggufNames.ContainsKey(key);

        public override WeightInfo Describe(string key) => file.Describe(FullName(key)) with { Key = key };

        public override Tensor Load(string key, ScalarType? dtype = null)
        {
            long heads = key.Contains(".self_attn.q_proj.", StringComparison.Ordinal) ? queryHeads
                : key.Contains(".self_attn.k_proj.", StringComparison.Ordinal) ? keyHeads : 0;
            if (heads == 0)
                return file.Load(FullName(key), dtype);
            long rows = Describe(key).Shape is [var first, ..] ? first : 0;
            if (rows % (2 * heads) != 0)
                throw CheckpointException.OfTensor(Path, FullName(key), $"its {rows} rows do not divide into {heads} heads of two halves");
            long half = rows / heads / 2;
            // The file holds element i of both halves side by side; here a head is its first half, then its second.
            return file.Load(FullName(key), dtype, row => (row / (2 * half) * 2 * half) + (row % half * 2) + (row / half % 2));
        }

        internal override string FullName(string key) =>
            ggufNames.TryGetValue(key, out string? name) ? name : throw CheckpointException.OfTensor(Path, key, "there is no such tensor in the file");

        protected override void Dispose(bool disposing)
        {
            if (disposing)
                file.Dispose();
        }
    }
}
