using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Reads a decoder's sizes from a GGUF file's metadata (key names: ggml docs/gguf.md).</summary>
internal static class GgufDecoderConfig
{
    private const string EndOfSequenceKey = "tokenizer.ggml.eos_token_id";
    private const string RotaryDivisors = "rope_freqs.weight"; // written by llama.cpp's converter for llama3 scaling

    public static DecoderConfig Read(GgufFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        var architecture = file.Require("general.architecture").AsString();
        if (architecture is not ("llama" or "qwen2"))
            throw new CheckpointException($"{file.Path}: general.architecture \"{architecture}\" is not a decoder that is built here; supported are llama, qwen2");

        var (hidden, heads) = (Integer("embedding_length"), Integer("attention.head_count"));
        var headSize = Integer("attention.key_length", hidden / Math.Max(heads, 1));
        if (Integer("rope.dimension_count", headSize) is var rotated && rotated != headSize)
            throw new CheckpointException($"{file.Path}: {architecture}.rope.dimension_count is {rotated}, the head size {headSize}; a partial rotation is not supported");
        if (Find("rope.scaling.type")?.AsString() is { } scaling and not "none")
            throw new CheckpointException($"{file.Path}: {architecture}.rope.scaling.type \"{scaling}\" is not supported");

        return new DecoderConfig
        {
            VocabularySize = checked((int)file.Describe("token_embd.weight").Shape[0]),
            HiddenSize = hidden,
            IntermediateSize = Integer("feed_forward_length"),
            NumHiddenLayers = Integer("block_count"),
            NumAttentionHeads = heads,
            NumKeyValueHeads = Integer("attention.head_count_kv", heads),
            HeadSize = headSize,
            RmsNormEpsilon = file.Require($"{architecture}.attention.layer_norm_rms_epsilon").AsDouble(),
            Rotary = new RotaryConfig(Find("rope.freq_base")?.AsDouble() ?? 10000) { FrequencyDivisors = Divisors(file) },
            QueryKeyValueBias = file.Contains("blk.0.attn_q.bias"),
            OutputBias = file.Contains("blk.0.attn_output.bias"),
            MlpBias = file.Contains("blk.0.ffn_down.bias"),
            TieWordEmbeddings = !file.Contains("output.weight"),
            EndOfSequenceIds = file.Metadata.TryGetValue(EndOfSequenceKey, out var end) ? [end.AsInt64()] : [],
            MaxPositionEmbeddings = Integer("context_length", 2048),
        }.Checked(file.Path);

        GgufValue? Find(string name) => file.Metadata.GetValueOrDefault($"{architecture}.{name}");

        int Integer(string name, int? otherwise = null)
        {
            if (Find(name) is null && otherwise is { } value)
                return value;
            var number = file.Require($"{architecture}.{name}").AsInt64();
            return number is >= 0 and <= int.MaxValue ? (int)number : throw new CheckpointException($"{file.Path}: {architecture}.{name} is {number}, out of range");
        }
    }

    private static float[]? Divisors(GgufFile file)
    {
        if (!file.Contains(RotaryDivisors))
            return null;
        using var divisors = file.Load(RotaryDivisors, ScalarType.Float32);
        return divisors.data<float>().ToArray();
    }
}
