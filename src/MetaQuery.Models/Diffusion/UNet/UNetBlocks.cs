using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>What a UNet's blocks share on one way through the network.</summary>
/// <param name="Time">The activated time embedding, [B, channels], float32.</param>
/// <param name="Context">Gives the condition's keys and values, one attention after the other.</param>
/// <param name="Tap">Is shown outputs of submodules, or null.</param>
internal sealed record UNetPass(Tensor Time, IEnumerator<(Tensor Keys, Tensor Values)> Context, ActivationTap? Tap);

/// <summary>Residual blocks with a transformer behind each where the stage has attention: what every block of the network consists of.</summary>
internal sealed class UNetLayers
{
    private readonly ResidualBlock[] residuals;
    private readonly SpatialTransformer[] transformers;
    private readonly string path;

    /// <param name="scope">Holds resnets and, with attention, attentions.</param>
    /// <param name="config">The network's.</param>
    /// <param name="stage">Width and attention.</param>
    /// <param name="inputs">Channels into each residual block.</param>
    public UNetLayers(ParameterScope scope, UNet2DConditionConfig config, UNetStage stage, IReadOnlyList<int> inputs)
    {
        var options = UNet2DConditionModel.ResidualOptions(config);
        residuals = [.. inputs.Select((channels, i) => new ResidualBlock(scope.Child($"resnets.{i}"), channels, stage.Channels, options))];
        transformers = stage.HasAttention
            ? [.. inputs.Select((_, i) => new SpatialTransformer(scope.Child($"attentions.{i}"), config, stage, stage.TransformerLayers, stage.OnlyCrossAttention))]
            : [];
        path = scope.Prefix;
    }

    public int Count => residuals.Length;

    public void Project(Tensor condition, List<(Tensor Keys, Tensor Values)> into) => Array.ForEach(transformers, transformer => transformer.Project(condition, into));

    public Tensor Forward(int index, Tensor x, UNetPass pass)
    {
        using var scope = NewDisposeScope();
        var hidden = residuals[index].Forward(x, pass.Time);
        pass.Tap?.Invoke($"{path}.resnets.{index}", hidden);
        hidden = transformers.Length == 0 ? hidden : transformers[index].Forward(hidden, pass.Context, pass.Tap);
        return hidden.MoveToOuterDisposeScope();
    }
}

/// <summary>DownBlock2D and CrossAttnDownBlock2D: layers, then a strided convolution except in the last stage.</summary>
internal sealed class UNetDownBlock
{
    private readonly UNetLayers layers;
    private readonly StridedDownsample? downsample;

    public UNetDownBlock(ParameterScope scope, UNet2DConditionConfig config, UNetStage stage, int inputs, bool isLast)
    {
        layers = new UNetLayers(scope, config, stage, [.. Enumerable.Range(0, stage.Layers).Select(i => i == 0 ? inputs : stage.Channels)]);
        downsample = isLast ? null : new StridedDownsample(scope.Child("downsamplers.0"), stage.Channels, config.DownsamplePadding);
    }

    public void Project(Tensor condition, List<(Tensor Keys, Tensor Values)> into) => layers.Project(condition, into);

    /// <param name="skips">Receives every layer's output, and the down-sampled one.</param>
    public Tensor Forward(Tensor x, UNetPass pass, List<Tensor> skips)
    {
        for (var i = 0; i < layers.Count; i++)
        {
            x = layers.Forward(i, x, pass);
            skips.Add(x);
        }

        if (downsample is not null)
        {
            x = downsample.Forward(x);
            skips.Add(x);
        }

        return x;
    }
}

/// <summary>UpBlock2D and CrossAttnUpBlock2D: layers, each on the stream and one output of the way down side by side, then up-sampling except in the last stage.</summary>
internal sealed class UNetUpBlock
{
    private readonly UNetLayers layers;
    private readonly NearestUpsample? upsample;

    /// <param name="scope">Holds resnets, attentions and upsamplers.</param>
    /// <param name="config">The network's.</param>
    /// <param name="stage">Width and attention.</param>
    /// <param name="previous">Channels of the stream that comes in.</param>
    /// <param name="finer">Channels of the next finer stage, where the last output of the way down comes from.</param>
    /// <param name="isLast">Whether this is the finest stage.</param>
    public UNetUpBlock(ParameterScope scope, UNet2DConditionConfig config, UNetStage stage, int previous, int finer, bool isLast)
    {
        layers = new UNetLayers(scope, config, stage, [.. Enumerable.Range(0, stage.Layers + 1).Select(i =>
            (i == 0 ? previous : stage.Channels) + (i == stage.Layers ? finer : stage.Channels))]);
        upsample = isLast ? null : new NearestUpsample(scope.Child("upsamplers.0"), stage.Channels);
    }

    public void Project(Tensor condition, List<(Tensor Keys, Tensor Values)> into) => layers.Project(condition, into);

    /// <param name="skips">Outputs of the way down; those that are used are taken from its end.</param>
    public Tensor Forward(Tensor x, UNetPass pass, List<Tensor> skips)
    {
        for (var i = 0; i < layers.Count; i++)
        {
            var joined = torch.cat([x, skips[^1]], 1);
            skips.RemoveAt(skips.Count - 1);
            x = layers.Forward(i, joined, pass);
        }

        // To the size that the way down had there: odd sizes are halved upwards.
        return upsample?.Forward(x, skips[^1].shape[2], skips[^1].shape[3]) ?? x;
    }
}

/// <summary>UNetMidBlock2DCrossAttn: residual, transformer, residual; UNetMidBlock2D has the first residual alone.</summary>
internal sealed class UNetMidBlock
{
    private readonly ResidualBlock first;
    private readonly SpatialTransformer? transformer;
    private readonly ResidualBlock? second;

    public UNetMidBlock(ParameterScope scope, UNet2DConditionConfig config)
    {
        var stage = config.Down[^1];
        ResidualBlock Residual(int index) =>
            new(scope.Child($"resnets.{index}"), stage.Channels, stage.Channels, UNet2DConditionModel.ResidualOptions(config), config.MidBlockScaleFactor);
        first = Residual(0);
        if (config.MidBlockType == "UNetMidBlock2DCrossAttn")
        {
            transformer = new SpatialTransformer(scope.Child("attentions.0"), config, stage, stage.TransformerLayers, onlyCrossAttention: false);
            second = Residual(1);
        }
    }

    public void Project(Tensor condition, List<(Tensor Keys, Tensor Values)> into) => transformer?.Project(condition, into);

    public Tensor Forward(Tensor x, UNetPass pass)
    {
        using var scope = NewDisposeScope();
        x = first.Forward(x, pass.Time);
        if (transformer is not null)
        {
            x = second!.Forward(transformer.Forward(x, pass.Context, pass.Tap), pass.Time);
        }

        return x.MoveToOuterDisposeScope();
    }
}
