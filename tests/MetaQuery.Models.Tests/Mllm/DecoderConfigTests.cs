using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using MetaQuery.TestKit;

namespace MetaQuery.Models.Tests.Mllm;

[LeakCheck]
public sealed class DecoderConfigTests
{
    private const string Sizes = """ "vocab_size": 96, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4""";

    private static DecoderConfig Read(string json) => DecoderConfig.FromTransformers(ConfigFile.Parse("config.json", json));

    [Fact]
    public void What_a_file_leaves_out_takes_the_librarys_defaults()
    {
        var llama = Read($$"""{"model_type": "llama", {{Sizes}}}""");
        Assert.Equal((4, 16, 1e-6, 10000.0, false, false), (llama.NumKeyValueHeads, llama.HeadSize, llama.RmsNormEpsilon, llama.Rotary.Theta, llama.QueryKeyValueBias, llama.TieWordEmbeddings));
        Assert.True(Read($$"""{"model_type": "qwen2", {{Sizes}}}""").QueryKeyValueBias);
    }

    [Fact]
    public void Llamas_attention_bias_covers_the_output_projection_too()
    {
        var config = Read($$"""{"model_type": "llama", "attention_bias": true, "mlp_bias": true, {{Sizes}}}""");
        Assert.True(config is { QueryKeyValueBias: true, OutputBias: true, MlpBias: true });
    }

    [Fact]
    public void A_nested_text_config_is_found()
    {
        var config = Read($$"""{"model_type": "qwen2_5_vl", "tie_word_embeddings": true, "text_config": {"model_type": "qwen2", "eos_token_id": [5, 7], {{Sizes}} } }""");
        Assert.True(config.TieWordEmbeddings);
        Assert.Equal([5L, 7L], config.EndOfSequenceIds);
    }

    [Theory]
    [InlineData(""" "model_type": "gpt2" """, "model_type")]
    [InlineData(""" "model_type": "llama", "hidden_act": "gelu" """, "hidden_act")]
    [InlineData(""" "model_type": "qwen2", "use_sliding_window": true, "sliding_window": 8 """, "sliding")]
    [InlineData(""" "model_type": "llama", "num_key_value_heads": 3 """, "3 key-value heads")]
    [InlineData(""" "model_type": "llama", "head_dim": 7 """, "head size 7")]
    [InlineData(""" "model_type": "llama", "rms_norm_eps": 0 """, "rms_norm_eps")]
    [InlineData(""" "model_type": "llama", "rope_scaling": {"rope_type": "yarn", "factor": 4} """, "yarn")]
    [InlineData(""" "model_type": "llama", "rope_scaling": {"rope_type": "linear"} """, "factor")]
    public void What_is_not_built_is_refused_by_name(string fields, string reason)
    {
        var error = Assert.Throws<CheckpointException>(() => Read($$"""{ {{fields}}, {{Sizes}}}"""));
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.StartsWith("config.json", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Rotary_numbers_are_found_where_transformers_5_states_them()
    {
        var later = Read($$"""{"model_type": "qwen2_5_vl_text", "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0, "mrope_section": [2, 3, 3]}, {{Sizes}}}""").Rotary;
        var earlier = Read($$"""{"model_type": "qwen2_5_vl_text", "rope_theta": 1000000.0, "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, {{Sizes}}}""").Rotary;
        Assert.Equal((earlier.Theta, earlier.Kind), (later.Theta, later.Kind));
        Assert.Equal(earlier.Sections, later.Sections);
    }

    [Fact]
    public void A_missing_size_is_named()
    {
        var error = Assert.Throws<CheckpointException>(() => Read("""{"model_type": "llama", "vocab_size": 9}"""));
        Assert.Contains("hidden_size", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Llama3_scaling_slows_low_frequencies_and_leaves_high_ones()
    {
        var scaled = new RotaryConfig(500000, RotaryKind.Llama3, 8) { LowFrequencyFactor = 1, HighFrequencyFactor = 4, OriginalMaxPositions = 8192 }.InverseFrequencies(128);
        var plain = new RotaryConfig(500000).InverseFrequencies(128);
        Assert.Equal(plain[0], scaled[0]); // wavelength 6, far below 8192 / 4
        Assert.Equal(plain[63] / 8, scaled[63], 1e-12f); // wavelength 2.5 million, far above 8192
        for (var i = 0; i < plain.Length; i++)
            Assert.InRange(scaled[i], plain[i] / 8.0001f, plain[i]);
    }
}
