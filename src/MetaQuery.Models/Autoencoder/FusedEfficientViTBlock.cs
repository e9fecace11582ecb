using MetaQuery.Kernels;
using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary><see cref="EfficientViTBlock"/> on tokens. The attention itself is float32, and always in its linear form, which is the quadratic one's function.</summary>
internal sealed unsafe class FusedEfficientViTBlock : IFusedStageBlock
{
    private const float AttentionEpsilon = 1e-15f; // SanaMultiscaleLinearAttention, diffusers 0.33
    private const int ExpandRatio = 4; // EfficientViTBlock, diffusers 0.33

    private readonly PackedWeights queryKeyValue;
    private readonly (NativeBuffer Taps, int Kernel, PackedWeights[] Groups)[] scales;
    private readonly PackedWeights attentionOut;
    private readonly FusedChannelNorm attentionNorm;
    private readonly PackedWeights inverted;
    private readonly NativeBuffer invertedBias;
    private readonly NativeBuffer depthWeight;
    private readonly NativeBuffer depthBias;
    private readonly PackedWeights point;
    private readonly FusedChannelNorm feedNorm;
    private readonly int heads;
    private readonly int headDim;

    public FusedEfficientViTBlock(ParameterScope scope, int channels, int headDim, int[] kernels, FusedPacking packing)
    {
        using var disposeScope = NewDisposeScope();
        this.headDim = headDim;
        heads = channels / headDim;
        var (inner, attention, feed) = (heads * headDim, scope.Child("attn"), scope.Child("conv_out"));
        queryKeyValue = new PackedWeights(
            torch.cat([.. new[] { "to_q", "to_k", "to_v" }.Select(name => attention.Child(name).LoadStored("weight", inner, channels))], 0),
            null, packing.Type, packing.Features);
        scales = [.. kernels.Select((kernel, i) =>
        {
            var scale = attention.Child($"to_qkv_multiscale.{i}");
            var taps = scale.Child("proj_in").Load("weight", 3 * inner, 1, kernel, kernel).view(3 * inner, kernel * kernel).transpose(0, 1);
            var grouped = scale.Child("proj_out").Load("weight", 3 * inner, headDim, 1, 1).chunk(3 * heads, 0);
            return (PackedWeights.Floats(taps), kernel,
                grouped.Select(group => new PackedWeights(group, null, KernelType.Float32, KernelFeatures.None)).ToArray());
        })];
        attentionOut = new PackedWeights(attention.Child("to_out").LoadStored("weight", channels, inner * (1 + kernels.Length)), null, packing.Type, packing.Features);
        attentionNorm = new FusedChannelNorm(attention.Child("norm_out"), channels);

        var hidden = ExpandRatio * channels;
        inverted = new PackedWeights(feed.Child("conv_inverted").LoadStored("weight", 2 * hidden, channels, 1, 1), null, packing.Type, packing.Features);
        invertedBias = PackedWeights.Floats(feed.Child("conv_inverted").Load("bias", 2 * hidden));
        depthWeight = PackedWeights.Floats(feed.Child("conv_depth").Load("weight", 2 * hidden, 1, 3, 3).view(2 * hidden, 9).transpose(0, 1));
        depthBias = PackedWeights.Floats(feed.Child("conv_depth").Load("bias", 2 * hidden));
        point = new PackedWeights(feed.Child("conv_point").LoadStored("weight", channels, hidden, 1, 1), null, packing.Type, packing.Features);
        feedNorm = new FusedChannelNorm(feed.Child("norm"), channels);
    }

    public void Forward(FusedStage stage)
    {
        var (positions, channels, threads) = (stage.Positions, stage.Channels, stage.Threads);
        var update = (float*)stage.Buffer(FusedDecoderRole.Update, positions * channels * sizeof(float));
        var attended = Attend(stage);
        attentionOut.Multiply(stage.Rounded(attended, attentionOut.Inputs), positions, new MatmulTarget { Output = update }, threads);
        attentionNorm.AddTo(stage, update, padded: null);

        var wide = stage.Buffer(FusedDecoderRole.Wide, positions * inverted.Outputs * stage.ElementBytes);
        var narrow = stage.Buffer(FusedDecoderRole.Narrow, positions * point.Inputs * stage.ElementBytes);
        inverted.Multiply(stage.Rounded(stage.Stream, channels), positions, new MatmulTarget { Output = wide, Type = stage.Type }, threads);
        RawKernels.GluDepthwise(
            wide, stage.Type, invertedBias.Floats, depthWeight.Floats, depthBias.Floats, narrow, 1, stage.Height, stage.Width, point.Inputs, threads);
        point.Multiply(narrow, positions, new MatmulTarget { Output = update }, threads);
        feedNorm.AddTo(stage, update, stage.Padded);
        stage.PaddedIsCurrent = true;
    }

    public void Dispose()
    {
        foreach (var part in new IDisposable[] { queryKeyValue, attentionOut, attentionNorm, inverted, invertedBias, depthWeight, depthBias, point, feedNorm })
        {
            part.Dispose();
        }

        foreach (var (taps, _, groups) in scales)
        {
            taps.Dispose();
            Array.ForEach(groups, group => group.Dispose());
        }
    }

    // Every 3 · head size channels of the product are one head's q, k and v; the kernel wants all q, then all k, then all v.
    private float* Attend(FusedStage stage)
    {
        var (positions, threads, inner) = (stage.Positions, stage.Threads, 3L * heads * headDim);
        var allHeads = heads * (1 + scales.Length);
        var rowWidth = 3L * allHeads * headDim;
        var single = (float*)stage.Buffer(FusedDecoderRole.Single, positions * inner * sizeof(float));
        var all = (float*)stage.Buffer(FusedDecoderRole.QueryKeyValue, positions * rowWidth * sizeof(float));
        queryKeyValue.Multiply(stage.Rounded(stage.Stream, stage.Channels), positions, new MatmulTarget { Output = single }, threads);
        var headBytes = headDim * sizeof(float);
        for (var position = 0L; position < positions; position++)
        {
            for (var group = 0; group < 3 * heads; group++)
            {
                Buffer.MemoryCopy(single + (position * inner) + (group * headDim), all + (position * rowWidth) + Column(group, 0, allHeads), headBytes, headBytes);
            }
        }

        for (var i = 0; i < scales.Length; i++)
        {
            var averaged = (float*)stage.Buffer(FusedDecoderRole.Scale, positions * inner * sizeof(float));
            RawKernels.Depthwise(single, scales[i].Taps.Floats, averaged, stage.Height, stage.Width, inner, scales[i].Kernel, threads);
            for (var group = 0; group < 3 * heads; group++)
            {
                scales[i].Groups[group].Multiply(
                    averaged + (group * headDim), positions, new MatmulTarget { Output = all + Column(group, i + 1, allHeads), Stride = rowWidth }, threads, inner);
            }
        }

        var attended = (float*)stage.Buffer(FusedDecoderRole.Attended, positions * allHeads * headDim * sizeof(float));
        RawKernels.ReluLinearAttention(all, KernelType.Float32, attended, 1, positions, allHeads, headDim, AttentionEpsilon, threads);
        return attended;
    }

    private long Column(int group, int scale, int allHeads) => ((group % 3 * (long)allHeads) + (scale * heads) + (group / 3)) * headDim;
}
