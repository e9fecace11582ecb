using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>Unscaled latents to pixels. The stages run from the coarsest, the last, to the finest.</summary>
internal sealed class Decoder
{
    private readonly Conv2d convIn;
    private readonly IStageBlock[][] stages;
    private readonly RmsNorm norm;
    private readonly Conv2d? convOut;
    private readonly IStageBlock? upOut;
    private readonly int repeats;

    public Decoder(ParameterScope scope, AutoencoderDCConfig config)
    {
        var (channels, layers) = (config.Decoder.Channels, config.Decoder.Layers);
        convIn = new Conv2d(scope.Child("conv_in"), config.LatentChannels, channels[^1], kernel: 3);
        repeats = channels[^1] / config.LatentChannels;
        stages = [.. Enumerable.Range(0, channels.Count).Select(stage =>
        {
            var stageScope = scope.Child($"up_blocks.{stage}");
            var blocks = new List<IStageBlock>();
            if (stage < channels.Count - 1 && layers[stage] > 0)
            {
                blocks.Add(new UpSample(stageScope.Child("0"), channels[stage + 1], channels[stage], config.PixelShuffleUp, shortcut: true));
            }

            blocks.AddRange(StageBlocks.Create(stageScope, config, config.Decoder, stage, firstIndex: blocks.Count));
            return blocks.ToArray();
        })];
        var last = layers[0] > 0 ? channels[0] : channels[1];
        norm = new RmsNorm(scope.Child("norm_out"), last, 1e-5, bias: true, overChannels: true);
        if (layers[0] > 0)
        {
            convOut = new Conv2d(scope.Child("conv_out"), last, config.InChannels, kernel: 3);
        }
        else
        {
            upOut = new UpSample(scope.Child("conv_out"), last, config.InChannels, config.PixelShuffleUp, shortcut: false);
        }
    }

    public Tensor Forward(Tensor latents, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        var x = convIn.Forward(latents);
        tap?.Invoke("decoder.conv_in", x);
        x = x + latents.repeat_interleave(repeats, 1);
        for (var stage = stages.Length - 1; stage >= 0; stage--)
        {
            x = StageBlocks.Run(stages[stage], x);
            tap?.Invoke($"decoder.up_blocks.{stage}", x);
        }

        x = norm.Forward(x);
        tap?.Invoke("decoder.norm_out", x.permute(0, 2, 3, 1)); // the reference norms channels-last
        x = nn.functional.relu(x);
        return (convOut?.Forward(x) ?? upOut!.Forward(x)).MoveToOuterDisposeScope();
    }
}
