namespace MetaQuery.Pipelines.RandomModels;

/// <summary>Configuration of the family's language models, as published: Qwen2.5-VL-3B and 7B Instruct, llava-onevision-qwen2-0.5b-ov-hf.</summary>
internal static class MllmFiles
{
    public const string Qwen3B = """
        {
          "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl", "hidden_act": "silu",
          "hidden_size": 2048, "intermediate_size": 11008, "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2,
          "vocab_size": 151936, "tie_word_embeddings": true, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
          "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "max_position_embeddings": 128000, "use_sliding_window": false,
          "bos_token_id": 151643, "eos_token_id": 151645, "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652,
          "vision_end_token_id": 151653, "torch_dtype": "bfloat16",
          "vision_config": {
            "depth": 32, "hidden_act": "silu", "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "in_chans": 3, "out_hidden_size": 2048,
            "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2, "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2
          }
        }
        """;

    public const string Qwen7B = """
        {
          "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl", "hidden_act": "silu",
          "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
          "vocab_size": 152064, "tie_word_embeddings": false, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
          "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]}, "max_position_embeddings": 128000, "use_sliding_window": false,
          "bos_token_id": 151643, "eos_token_id": 151645, "image_token_id": 151655, "video_token_id": 151656, "vision_start_token_id": 151652,
          "vision_end_token_id": 151653, "torch_dtype": "bfloat16",
          "vision_config": {
            "depth": 32, "hidden_act": "silu", "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16, "in_chans": 3, "out_hidden_size": 3584,
            "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2, "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31], "tokens_per_second": 2
          }
        }
        """;

    public const string QwenTiny = """
        {
          "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl", "hidden_act": "silu",
          "hidden_size": 64, "intermediate_size": 144, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "vocab_size": 640, "tie_word_embeddings": true, "rms_norm_eps": 1e-06, "rope_theta": 1000000.0,
          "rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}, "max_position_embeddings": 4096, "use_sliding_window": false,
          "bos_token_id": 600, "eos_token_id": 602, "image_token_id": 612, "video_token_id": 613, "vision_start_token_id": 609,
          "vision_end_token_id": 610, "torch_dtype": "bfloat16",
          "vision_config": {
            "depth": 2, "hidden_act": "silu", "hidden_size": 32, "intermediate_size": 72, "num_heads": 2, "in_chans": 3, "out_hidden_size": 64,
            "patch_size": 14, "spatial_merge_size": 2, "spatial_patch_size": 14, "temporal_patch_size": 2, "window_size": 112,
            "fullatt_block_indexes": [1], "tokens_per_second": 2
          }
        }
        """;

    public const string LlavaOnevision = """
        {
          "architectures": ["LlavaOnevisionForConditionalGeneration"], "model_type": "llava_onevision", "image_token_index": 151646, "video_token_index": 151647,
          "projector_hidden_act": "gelu", "multimodal_projector_bias": true, "vision_aspect_ratio": "anyres_max_9", "vision_feature_layer": -1,
          "vision_feature_select_strategy": "full", "tie_word_embeddings": true, "torch_dtype": "bfloat16",
          "text_config": {
            "model_type": "qwen2", "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14,
            "num_key_value_heads": 2, "vocab_size": 152000, "tie_word_embeddings": true, "rope_theta": 1000000.0, "rms_norm_eps": 1e-06,
            "max_position_embeddings": 32768, "bos_token_id": 151643, "eos_token_id": 151645, "sliding_window": null
          },
          "vision_config": {
            "model_type": "siglip_vision_model", "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 26, "num_attention_heads": 16,
            "image_size": 384, "patch_size": 14, "vision_use_head": false
          }
        }
        """;

    public const string LlavaTiny = """
        {
          "architectures": ["LlavaOnevisionForConditionalGeneration"], "model_type": "llava_onevision", "image_token_index": 603, "video_token_index": 604,
          "projector_hidden_act": "gelu", "multimodal_projector_bias": true, "vision_aspect_ratio": "anyres_max_9", "vision_feature_layer": -1,
          "vision_feature_select_strategy": "full", "tie_word_embeddings": true, "torch_dtype": "bfloat16",
          "text_config": {
            "model_type": "qwen2", "hidden_size": 64, "intermediate_size": 144, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": 640, "tie_word_embeddings": true, "rope_theta": 1000000.0, "rms_norm_eps": 1e-06,
            "max_position_embeddings": 4096, "bos_token_id": 600, "eos_token_id": 602, "sliding_window": null
          },
          "vision_config": {
            "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 72, "num_hidden_layers": 2, "num_attention_heads": 2,
            "image_size": 96, "patch_size": 16, "vision_use_head": false
          }
        }
        """;

    public const string QwenPreprocessor = """
        {
          "min_pixels": 3136, "max_pixels": 12845056, "patch_size": 14, "temporal_patch_size": 2, "merge_size": 2,
          "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
          "image_processor_type": "Qwen2VLImageProcessor", "processor_class": "Qwen2_5_VLProcessor"
        }
        """;

    public const string LlavaPreprocessor = """
        {
          "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true, "do_pad": true, "resample": 3,
          "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 384, "width": 384},
          "image_processor_type": "LlavaOnevisionImageProcessor", "processor_class": "LlavaOnevisionProcessor"
        }
        """;

    // 384 pixels, the reference's crop, are four tiles a side.
    public const string LlavaTinyPreprocessor = """
        {
          "do_convert_rgb": true, "do_normalize": true, "do_rescale": true, "do_resize": true, "do_pad": true, "resample": 3,
          "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": {"height": 96, "width": 96},
          "image_grid_pinpoints": [[96, 96], [96, 192], [192, 96], [192, 192], [384, 384]],
          "image_processor_type": "LlavaOnevisionImageProcessor", "processor_class": "LlavaOnevisionProcessor"
        }
        """;

    // The families' layouts of turns and pictures, without the options that nothing here uses.
    public const string QwenTemplate =
        "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
        + "<|im_start|>{{ message['role'] }}\n{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
        + "{% for content in message['content'] %}{% if content['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
        + "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endif %}{% endfor %}"
        + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

    public const string LlavaTemplate =
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
        + "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>' }}{% endfor %}"
        + "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ '\n' + content['text'] }}{% endfor %}"
        + "{{'<|im_end|>'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

    private static readonly string[] LlavaSpecial = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"];

    private static readonly string[] QwenSpecial =
    [
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>", "<|box_end|>", "<|quad_start|>",
        "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>",
    ];

    /// <param name="first">Id of <c>&lt;|endoftext|&gt;</c>.</param>
    public static IReadOnlyList<(int Id, string Content)> LlavaTokens(int first) => [.. LlavaSpecial.Select((content, i) => (first + i, content))];

    /// <inheritdoc cref="LlavaTokens"/>
    public static IReadOnlyList<(int Id, string Content)> QwenTokens(int first) => [.. QwenSpecial.Select((content, i) => (first + i, content))];
}
