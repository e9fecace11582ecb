using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>Pixels to latents, before scaling.</summary>
internal sealed class Encoder
{
    private readonly IStageBlock? downIn;
    private readonly Conv2d? convIn;
    private readonly IStageBlock[][] stages;
    private readonly Conv2d convOut;
    private readonly int group;

    public Encoder(ParameterScope scope, AutoencoderDCConfig config)
    {
        var (channels, layers) = (config.Encoder.Channels, config.Encoder.Layers);
        if (layers[0] > 0)
        {
            convIn = new Conv2d(scope.Child("conv_in"), config.InChannels, channels[0], kernel: 3);
        }
        else
        {
            downIn = new DownSample(scope.Child("conv_in"), config.InChannels, channels[1], config.PixelUnshuffleDown, shortcut: false);
        }

        stages = [.. Enumerable.Range(0, channels.Count).Select(stage =>
        {
            var blocks = StageBlocks.Create(scope.Child($"down_blocks.{stage}"), config, config.Encoder, stage, firstIndex: 0);
            if (stage < channels.Count - 1 && layers[stage] > 0)
            {
                blocks.Add(new DownSample(
                    scope.Child($"down_blocks.{stage}.{blocks.Count}"), channels[stage], channels[stage + 1], config.PixelUnshuffleDown, shortcut: true));
            }

            return blocks.ToArray();
        })];
        convOut = new Conv2d(scope.Child("conv_out"), channels[^1], config.LatentChannels, kernel: 3);
        group = channels[^1] / config.LatentChannels;
    }

    public Tensor Forward(Tensor image, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        var x = convIn?.Forward(image) ?? downIn!.Forward(image);
        tap?.Invoke("encoder.conv_in", x);
        for (var stage = 0; stage < stages.Length; stage++)
        {
            x = StageBlocks.Run(stages[stage], x);
            tap?.Invoke($"encoder.down_blocks.{stage}", x);
        }

        return (convOut.Forward(x) + ChannelGroups.Mean(x, group)).MoveToOuterDisposeScope();
    }
}

internal static class StageBlocks
{
    public static List<IStageBlock> Create(ParameterScope scope, AutoencoderDCConfig config, AutoencoderDCStages side, int stage, int firstIndex) =>
        [.. Enumerable.Range(firstIndex, side.Layers[stage]).Select(index => side.BlockTypes[stage] == "ResBlock"
            ? (IStageBlock)new ResBlock(scope.Child($"{index}"), side.Channels[stage], side.Activations[stage])
            : new EfficientViTBlock(scope.Child($"{index}"), side.Channels[stage], config, side.QkvMultiscales[stage]))];

    public static Tensor Run(IStageBlock[] blocks, Tensor x)
    {
        foreach (var block in blocks)
        {
            x = block.Forward(x);
        }

        return x;
    }
}
