namespace MetaQuery.Pipelines.RandomModels;

/// <summary>Configuration of the family's diffusion parts, as published: Sana_1600M_512px_diffusers and stable-diffusion-v1-5.</summary>
internal static class DiffusionFiles
{
    public const string Sana = """
        {
          "_class_name": "SanaTransformer2DModel", "_diffusers_version": "0.33.1", "attention_bias": false, "attention_head_dim": 32, "caption_channels": 2304,
          "cross_attention_dim": 2240, "cross_attention_head_dim": 112, "dropout": 0.0, "in_channels": 32, "interpolation_scale": null, "mlp_ratio": 2.5,
          "norm_elementwise_affine": false, "norm_eps": 1e-06, "num_attention_heads": 70, "num_cross_attention_heads": 20, "num_layers": 20,
          "out_channels": 32, "patch_size": 1, "sample_size": 16
        }
        """;

    public const string SanaTiny = """
        {
          "_class_name": "SanaTransformer2DModel", "_diffusers_version": "0.33.1", "attention_bias": false, "attention_head_dim": 16, "caption_channels": 48,
          "cross_attention_dim": 64, "cross_attention_head_dim": 32, "dropout": 0.0, "in_channels": 8, "interpolation_scale": null, "mlp_ratio": 2.5,
          "norm_elementwise_affine": false, "norm_eps": 1e-06, "num_attention_heads": 4, "num_cross_attention_heads": 2, "num_layers": 2,
          "out_channels": 8, "patch_size": 1, "sample_size": 4
        }
        """;

    public const string DeepCompression = """
        {
          "_class_name": "AutoencoderDC", "_diffusers_version": "0.33.1", "attention_head_dim": 32, "in_channels": 3, "latent_channels": 32,
          "encoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock", "EfficientViTBlock"],
          "decoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock", "EfficientViTBlock"],
          "encoder_block_out_channels": [128, 256, 512, 512, 1024, 1024], "decoder_block_out_channels": [128, 256, 512, 512, 1024, 1024],
          "encoder_layers_per_block": [2, 2, 2, 3, 3, 3], "decoder_layers_per_block": [3, 3, 3, 3, 3, 3],
          "encoder_qkv_multiscales": [[], [], [], [5], [5], [5]], "decoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
          "upsample_block_type": "interpolate", "downsample_block_type": "conv", "decoder_norm_types": "rms_norm", "decoder_act_fns": "silu",
          "scaling_factor": 0.41407
        }
        """;

    public const string DeepCompressionTiny = """
        {
          "_class_name": "AutoencoderDC", "_diffusers_version": "0.33.1", "attention_head_dim": 16, "in_channels": 3, "latent_channels": 8,
          "encoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock"],
          "decoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock"],
          "encoder_block_out_channels": [16, 32, 32, 64], "decoder_block_out_channels": [16, 32, 32, 64],
          "encoder_layers_per_block": [1, 1, 1, 1], "decoder_layers_per_block": [1, 1, 1, 1],
          "encoder_qkv_multiscales": [[], [], [5], [5]], "decoder_qkv_multiscales": [[], [], [5], [5]],
          "upsample_block_type": "interpolate", "downsample_block_type": "conv", "decoder_norm_types": "rms_norm", "decoder_act_fns": "silu",
          "scaling_factor": 0.41407
        }
        """;

    public const string UNet = """
        {
          "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.33.1", "act_fn": "silu", "attention_head_dim": 8,
          "block_out_channels": [320, 640, 1280, 1280], "center_input_sample": false, "cross_attention_dim": 768,
          "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"], "downsample_padding": 1,
          "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 4, "layers_per_block": 2, "mid_block_scale_factor": 1, "norm_eps": 1e-05,
          "norm_num_groups": 32, "out_channels": 4, "sample_size": 64,
          "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"]
        }
        """;

    public const string UNetTiny = """
        {
          "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.33.1", "act_fn": "silu", "attention_head_dim": 4,
          "block_out_channels": [16, 32], "center_input_sample": false, "cross_attention_dim": 48,
          "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "downsample_padding": 1, "flip_sin_to_cos": true, "freq_shift": 0,
          "in_channels": 4, "layers_per_block": 1, "mid_block_scale_factor": 1, "norm_eps": 1e-05, "norm_num_groups": 8, "out_channels": 4,
          "sample_size": 8, "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"]
        }
        """;

    public const string Kl = """
        {
          "_class_name": "AutoencoderKL", "_diffusers_version": "0.33.1", "act_fn": "silu", "block_out_channels": [128, 256, 512, 512],
          "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
          "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
          "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 2, "norm_num_groups": 32, "sample_size": 512, "scaling_factor": 0.18215
        }
        """;

    public const string KlTiny = """
        {
          "_class_name": "AutoencoderKL", "_diffusers_version": "0.33.1", "act_fn": "silu", "block_out_channels": [16, 16, 32],
          "down_block_types": ["DownEncoderBlock2D", "DownEncoderBlock2D", "DownEncoderBlock2D"],
          "up_block_types": ["UpDecoderBlock2D", "UpDecoderBlock2D", "UpDecoderBlock2D"],
          "in_channels": 3, "out_channels": 3, "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 8, "sample_size": 32, "scaling_factor": 0.18215
        }
        """;

    public const string DpmSolver = """
        {
          "_class_name": "DPMSolverMultistepScheduler", "_diffusers_version": "0.33.1", "algorithm_type": "dpmsolver++", "beta_start": 0.0001, "beta_end": 0.02,
          "beta_schedule": "linear", "final_sigmas_type": "zero", "flow_shift": 3.0, "lower_order_final": true, "num_train_timesteps": 1000,
          "prediction_type": "flow_prediction", "solver_order": 2, "solver_type": "midpoint", "steps_offset": 0, "timestep_spacing": "linspace",
          "use_flow_sigmas": true
        }
        """;

    public const string Pndm = """
        {
          "_class_name": "PNDMScheduler", "_diffusers_version": "0.33.1", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
          "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1, "trained_betas": null, "clip_sample": false
        }
        """;
}
