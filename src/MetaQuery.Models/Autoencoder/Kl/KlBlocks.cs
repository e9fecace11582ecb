using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>Residual, attention over all positions, residual.</summary>
internal sealed class KlMidBlock
{
    private readonly ResidualBlock first;
    private readonly KlAttention? attention;
    private readonly ResidualBlock second;
    private readonly string path;

    public KlMidBlock(ParameterScope scope, AutoencoderKLConfig config)
    {
        var (width, options) = (config.Channels[^1], AutoencoderKL.ResidualOptions(config));
        first = new ResidualBlock(scope.Child("resnets.0"), width, width, options);
        attention = config.MidBlockAddAttention ? new KlAttention(scope.Child("attentions.0"), width, config.NormNumGroups) : null;
        second = new ResidualBlock(scope.Child("resnets.1"), width, width, options);
        path = scope.Prefix;
    }

    public Tensor Forward(Tensor x, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        x = first.Forward(x);
        x = attention?.Forward(x, tap) ?? x;
        x = second.Forward(x);
        tap?.Invoke(path, x);
        return x.MoveToOuterDisposeScope();
    }
}

/// <summary>Attention of one head behind a group norm; the input is added.</summary>
internal sealed class KlAttention
{
    private readonly GroupNorm norm;
    private readonly Linear toQuery;
    private readonly Linear toKey;
    private readonly Linear toValue;
    private readonly Linear toOut;
    private readonly string path;

    public KlAttention(ParameterScope scope, int width, int groups)
    {
        norm = new GroupNorm(scope.Child("group_norm"), width, groups, AutoencoderKL.NormEpsilon);
        // Checkpoints older than diffusers 0.15, Stable Diffusion 1.5's among them, have other names.
        toQuery = new Linear(scope.Child("to_q", formerly: "query"), width, width);
        toKey = new Linear(scope.Child("to_k", formerly: "key"), width, width);
        toValue = new Linear(scope.Child("to_v", formerly: "value"), width, width);
        toOut = new Linear(scope.Child("to_out.0", formerly: "proj_attn"), width, width);
        path = scope.Prefix;
    }

    public Tensor Forward(Tensor x, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        var tokens = Picture.Tokens(norm.Forward(x));
        var key = toKey.Forward(tokens);
        tap?.Invoke($"{path}.to_k", key);
        var attended = SoftmaxAttention.Attend(
            SoftmaxAttention.SplitHeads(toQuery.Forward(tokens), 1), SoftmaxAttention.SplitHeads(key, 1), SoftmaxAttention.SplitHeads(toValue.Forward(tokens), 1));
        var sum = Picture.FromTokens(toOut.Forward(attended), x.shape[2], x.shape[3]).to(ScalarType.Float32) + x;
        tap?.Invoke(path, sum);
        return sum.MoveToOuterDisposeScope();
    }
}

/// <summary>Pixels to the moments of the latents, before quant_conv.</summary>
internal sealed class KlEncoder
{
    private readonly Conv2d convIn;
    private readonly (ResidualBlock[] Residuals, StridedDownsample? Down)[] stages;
    private readonly KlMidBlock middle;
    private readonly GroupNorm norm;
    private readonly Conv2d convOut;

    public KlEncoder(ParameterScope scope, AutoencoderKLConfig config)
    {
        var (channels, options) = (config.Channels, AutoencoderKL.ResidualOptions(config));
        convIn = new Conv2d(scope.Child("conv_in"), config.InChannels, channels[0], kernel: 3, channelsLast: true);
        stages = [.. Enumerable.Range(0, channels.Count).Select(stage =>
        {
            var stageScope = scope.Child($"down_blocks.{stage}");
            ResidualBlock[] residuals = [.. Enumerable.Range(0, config.LayersPerBlock).Select(i => new ResidualBlock(
                stageScope.Child($"resnets.{i}"), i == 0 ? channels[Math.Max(stage - 1, 0)] : channels[stage], channels[stage], options))];
            return (residuals, stage == channels.Count - 1 ? null : new StridedDownsample(stageScope.Child("downsamplers.0"), channels[stage], padding: 0));
        })];
        middle = new KlMidBlock(scope.Child("mid_block"), config);
        norm = new GroupNorm(scope.Child("conv_norm_out"), channels[^1], config.NormNumGroups, AutoencoderKL.NormEpsilon);
        convOut = new Conv2d(scope.Child("conv_out"), channels[^1], 2 * config.LatentChannels, kernel: 3, channelsLast: true);
    }

    public Tensor Forward(Tensor image, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        var x = convIn.Forward(Picture.ChannelsLast(image)).to(ScalarType.Float32);
        tap?.Invoke("encoder.conv_in", x);
        for (var stage = 0; stage < stages.Length; stage++)
        {
            using var stageScope = NewDisposeScope();
            x = stages[stage].Residuals.Aggregate(x, (current, block) => block.Forward(current));
            x = stages[stage].Down?.Forward(x) ?? x;
            tap?.Invoke($"encoder.down_blocks.{stage}", x);
            x = x.MoveToOuterDisposeScope();
        }

        x = middle.Forward(x, tap);
        return convOut.Forward(nn.functional.silu(norm.Forward(x))).MoveToOuterDisposeScope();
    }
}

/// <summary>Latents behind post_quant_conv to pixels.</summary>
internal sealed class KlDecoder
{
    private readonly Conv2d convIn;
    private readonly KlMidBlock middle;
    private readonly (ResidualBlock[] Residuals, NearestUpsample? Up)[] stages;
    private readonly GroupNorm norm;
    private readonly Conv2d convOut;

    public KlDecoder(ParameterScope scope, AutoencoderKLConfig config)
    {
        var options = AutoencoderKL.ResidualOptions(config);
        int[] channels = [.. config.Channels.Reverse()]; // from the coarsest resolution on
        convIn = new Conv2d(scope.Child("conv_in"), config.LatentChannels, channels[0], kernel: 3, channelsLast: true);
        middle = new KlMidBlock(scope.Child("mid_block"), config);
        stages = [.. Enumerable.Range(0, channels.Length).Select(stage =>
        {
            var stageScope = scope.Child($"up_blocks.{stage}");
            ResidualBlock[] residuals = [.. Enumerable.Range(0, config.LayersPerBlock + 1).Select(i => new ResidualBlock(
                stageScope.Child($"resnets.{i}"), i == 0 ? channels[Math.Max(stage - 1, 0)] : channels[stage], channels[stage], options))];
            return (residuals, stage == channels.Length - 1 ? null : new NearestUpsample(stageScope.Child("upsamplers.0"), channels[stage]));
        })];
        norm = new GroupNorm(scope.Child("conv_norm_out"), channels[^1], config.NormNumGroups, AutoencoderKL.NormEpsilon);
        convOut = new Conv2d(scope.Child("conv_out"), channels[^1], config.OutChannels, kernel: 3, channelsLast: true);
    }

    public Tensor Forward(Tensor latents, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        var x = middle.Forward(convIn.Forward(latents).to(ScalarType.Float32), tap);
        for (var stage = 0; stage < stages.Length; stage++)
        {
            using var stageScope = NewDisposeScope();
            x = stages[stage].Residuals.Aggregate(x, (current, block) => block.Forward(current));
            x = stages[stage].Up?.Forward(x, 2 * x.shape[2], 2 * x.shape[3]) ?? x;
            tap?.Invoke($"decoder.up_blocks.{stage}", x);
            x = x.MoveToOuterDisposeScope();
        }

        return convOut.Forward(nn.functional.silu(norm.Forward(x))).MoveToOuterDisposeScope();
    }
}
