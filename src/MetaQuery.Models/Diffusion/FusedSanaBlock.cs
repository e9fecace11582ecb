using MetaQuery.Kernels;
using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>
/// <see cref="SanaTransformerBlock"/> by the fused kernels: tokens last, q, k and v in one product, biases, gates and residuals in
/// the products' last pass. Activations between products are float32 or bfloat16; stream, norms and sums are float32.
/// </summary>
internal sealed unsafe class FusedSanaBlock : IDisposable
{
    private const float AttentionEpsilon = 1e-15f; // SanaLinearAttnProcessor2_0, diffusers 0.33
    private const float QkNormEpsilon = 1e-5f;

    private readonly SanaTransformerConfig config;
    private readonly KernelType type;
    private readonly PackedWeights queryKeyValue;
    private readonly PackedWeights attentionOut;
    private readonly PackedWeights crossQuery;
    private readonly PackedWeights crossKey;
    private readonly PackedWeights crossValue;
    private readonly PackedWeights crossOut;
    private readonly PackedWeights inverted;
    private readonly PackedWeights point;
    private readonly NativeBuffer? invertedBias;
    private readonly NativeBuffer depthWeight;
    private readonly NativeBuffer depthBias;
    private readonly NativeBuffer?[] qkNorms;
    private readonly float[] table;
    private readonly (float[] Weight, float[] Bias)? affineNorm;

    public FusedSanaBlock(ParameterScope scope, SanaTransformerConfig config, KernelType type, KernelFeatures features)
    {
        this.config = config;
        this.type = type;
        var (width, cross, hidden) = (config.Width, config.CrossWidth, (long)(config.MlpRatio * config.Width));
        PackedWeights Pack(ParameterScope from, long outputs, long inputs, bool bias, KernelType precision) =>
            new(from.LoadStored("weight", outputs, inputs), from.LoadIf(bias, "bias", outputs), precision, features);

        var (self, other, feed) = (scope.Child("attn1"), scope.Child("attn2"), scope.Child("ff"));
        queryKeyValue = PackTogether(self, ["to_q", "to_k", "to_v"], width, config.AttentionBias, type, features);
        attentionOut = Pack(self.Child("to_out.0"), width, width, bias: true, type);
        crossQuery = Pack(other.Child("to_q"), cross, width, bias: true, type);
        // Once per condition, not once per step: float32 costs nothing here.
        crossKey = Pack(other.Child("to_k"), cross, config.CrossAttentionDim, bias: true, KernelType.Float32);
        crossValue = Pack(other.Child("to_v"), cross, config.CrossAttentionDim, bias: true, KernelType.Float32);
        crossOut = Pack(other.Child("to_out.0"), width, cross, bias: true, type);
        inverted = new PackedWeights(feed.Child("conv_inverted").LoadStored("weight", hidden * 2, width, 1, 1), null, type, features);
        invertedBias = PackedWeights.Floats(feed.Child("conv_inverted").Load("bias", hidden * 2));
        using (NewDisposeScope())
        {
            // tap by tap, as the kernel reads it
            depthWeight = PackedWeights.Floats(feed.Child("conv_depth").Load("weight", hidden * 2, 1, 3, 3).view(hidden * 2, 9).transpose(0, 1));
        }

        depthBias = PackedWeights.Floats(feed.Child("conv_depth").Load("bias", hidden * 2));
        point = new PackedWeights(feed.Child("conv_point").LoadStored("weight", width, hidden, 1, 1), null, type, features);
        qkNorms = config.QkNorm
            ? [.. new[] { self.Child("norm_q"), self.Child("norm_k"), other.Child("norm_q"), other.Child("norm_k") }
                .Select((norm, i) => PackedWeights.Floats(norm.Load("weight", i < 2 ? width : cross)))]
            : new NativeBuffer?[4];
        table = Values(scope.Load("scale_shift_table", 6, width));
        affineNorm = config.NormElementwiseAffine
            ? (Values(scope.Child("norm2").Load("weight", width)), Values(scope.Child("norm2").Load("bias", width)))
            : null;
    }

    /// <summary>Adds this block's table to one timestep's modulation, [6 · width] each.</summary>
    public void Modulate(ReadOnlySpan<float> modulation, Span<float> result)
    {
        System.Numerics.Tensors.TensorPrimitives.Add(modulation, table, result);
        if (affineNorm is not var (weight, bias))
        {
            return;
        }

        // (n w + b) (1 + scale) + shift is a plain norm with another scale and shift; of the norm before the feed-forward alone.
        var width = config.Width;
        var shift = result.Slice(3 * width, width);
        var scale = result.Slice(4 * width, width);
        for (var c = 0; c < width; c++)
        {
            shift[c] += bias[c] * (1 + scale[c]);
            scale[c] = (weight[c] * (1 + scale[c])) - 1;
        }
    }

    /// <summary>Keys and values of one projected condition.</summary>
    /// <param name="condition">[tokens, width], float32.</param>
    /// <param name="context">Receives them.</param>
    /// <param name="index">This block's.</param>
    /// <param name="threads">Of the kernels.</param>
    public void Project(float* condition, FusedSanaContext context, int index, int threads)
    {
        var (tokens, heads, size) = (context.Tokens, config.NumCrossAttentionHeads, config.CrossAttentionHeadDim);
        using var projected = new NativeBuffer((long)tokens * config.CrossWidth * sizeof(float));
        var source = projected.Floats;
        crossKey.Multiply(condition, tokens, new MatmulTarget { Output = source }, threads);
        if (qkNorms[3] is { } norm)
        {
            RawKernels.RmsNorm(source, KernelType.Float32, norm.Floats, null, source, KernelType.Float32, tokens, config.CrossWidth, QkNormEpsilon, KernelActivation.None, threads);
        }

        var keys = context.Keys(index);
        for (var channel = 0; channel < config.CrossWidth; channel++)
        {
            for (var token = 0; token < tokens; token++)
            {
                keys[((long)channel * tokens) + token] = source[((long)token * config.CrossWidth) + channel];
            }
        }

        crossValue.Multiply(condition, tokens, new MatmulTarget { Output = source }, threads);
        var values = context.Values(index);
        for (var head = 0; head < heads; head++)
        {
            for (var token = 0; token < tokens; token++)
            {
                Buffer.MemoryCopy(
                    source + ((long)token * config.CrossWidth) + (head * size), values + ((((long)head * tokens) + token) * size),
                    size * sizeof(float), size * sizeof(float));
            }
        }
    }

    /// <summary>Takes a chunk of rows through the block, in place.</summary>
    /// <param name="workspace">Its stream holds [rows, height · width, width of the model].</param>
    /// <param name="index">This block's.</param>
    /// <param name="modulation">Of the first row, [6 · width].</param>
    /// <param name="modulationStride">From row to row; 0 if all share one.</param>
    /// <param name="contexts">One per row.</param>
    /// <param name="height">Patches down.</param>
    /// <param name="width">Patches across.</param>
    public void Forward(
        FusedSanaWorkspace workspace, int index, float* modulation, long modulationStride, ReadOnlySpan<FusedSanaContext> contexts, int height, int width)
    {
        var (rows, tokens, channels, threads) = (contexts.Length, height * width, config.Width, workspace.Threads);
        var all = rows * tokens;
        var stream = workspace.Stream;
        var normed = workspace.Normed;
        var wide = workspace.Wide;
        var narrow = workspace.Narrow;
        MatmulTarget Residual(int gate) => new()
        {
            Output = stream, Residual = true, Gate = gate < 0 ? null : modulation + (gate * channels), GateStride = modulationStride, TokensPerGate = tokens,
        };

        Norm(stream, modulation, modulationStride, normed, rows, tokens, threads);
        queryKeyValue.Multiply(normed, all, new MatmulTarget { Output = wide, Type = type }, threads);
        NormQueriesAndKeys(wide, all, threads);
        RawKernels.ReluLinearAttention(wide, type, narrow, rows, tokens, config.NumAttentionHeads, config.AttentionHeadDim, AttentionEpsilon, threads);
        attentionOut.Multiply(narrow, all, Residual(gate: 2), threads);

        void* unnormed = stream;
        if (type == KernelType.BFloat16)
        {
            RawKernels.RoundToBFloat16(stream, normed, (long)all * channels);
            unnormed = normed;
        }

        crossQuery.Multiply(unnormed, all, new MatmulTarget { Output = wide, Type = type }, threads);
        if (qkNorms[2] is { } queryNorm)
        {
            RawKernels.RmsNorm(wide, type, queryNorm.Floats, null, wide, type, all, config.CrossWidth, QkNormEpsilon, KernelActivation.None, threads);
        }

        var scale = 1 / MathF.Sqrt(config.CrossAttentionHeadDim);
        var rowBytes = (long)tokens * config.CrossWidth * ElementBytes;
        for (var row = 0; row < rows; row++)
        {
            var context = contexts[row];
            RawKernels.CrossAttention(
                (byte*)wide + (row * rowBytes), type, context.Keys(index), context.Values(index), (byte*)narrow + (row * rowBytes),
                tokens, config.NumCrossAttentionHeads, config.CrossAttentionHeadDim, context.Tokens, scale, threads);
        }

        crossOut.Multiply(narrow, all, Residual(gate: -1), threads);

        Norm(stream, modulation + (3 * channels), modulationStride, normed, rows, tokens, threads);
        inverted.Multiply(normed, all, new MatmulTarget { Output = wide, Type = type }, threads);
        RawKernels.GluDepthwise(
            wide, type, invertedBias!.Floats, depthWeight.Floats, depthBias.Floats, narrow, rows, height, width, point.Inputs, threads);
        point.Multiply(narrow, all, Residual(gate: 5), threads);
    }

    public void Dispose()
    {
        foreach (var weights in new[] { queryKeyValue, attentionOut, crossQuery, crossKey, crossValue, crossOut, inverted, point })
        {
            weights.Dispose();
        }

        foreach (var buffer in qkNorms.Append(invertedBias).Append(depthWeight).Append(depthBias))
        {
            buffer?.Dispose();
        }
    }

    private long ElementBytes => type == KernelType.BFloat16 ? 2 : 4;

    private void Norm(float* x, float* shiftAndScale, long stride, void* output, int rows, int tokens, int threads) =>
        RawKernels.LayerNormModulate(
            x, shiftAndScale, shiftAndScale + config.Width, stride, output, type, rows, tokens, config.Width, (float)config.NormEpsilon, threads);

    // q and k lie in one row with v, so each token is normed by itself.
    private void NormQueriesAndKeys(void* queriesKeysValues, int tokens, int threads)
    {
        for (var part = 0; part < 2 && qkNorms[part] is { } norm; part++)
        {
            for (var token = 0; token < tokens; token++)
            {
                var at = (byte*)queriesKeysValues + (((token * 3L) + part) * config.Width * ElementBytes);
                RawKernels.RmsNorm(at, type, norm.Floats, null, at, type, 1, config.Width, QkNormEpsilon, KernelActivation.None, threads);
            }
        }
    }

    private static PackedWeights PackTogether(
        ParameterScope scope, string[] names, int width, bool bias, KernelType type, KernelFeatures features)
    {
        using var weight = torch.cat([.. names.Select(name => scope.Child(name).LoadStored("weight", width, width))], 0);
        using var biases = bias ? torch.cat([.. names.Select(name => scope.Child(name).Load("bias", width))], 0) : null;
        return new PackedWeights(weight, biases, type, features);
    }

    private static float[] Values(Tensor tensor) => tensor.data<float>().ToArray();
}
