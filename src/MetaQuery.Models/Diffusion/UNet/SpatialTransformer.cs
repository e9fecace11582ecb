using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>Transformer2DModel of diffusers 0.33 over the positions of a picture: norm, projection in, blocks, projection out; the input is added.</summary>
internal sealed class SpatialTransformer
{
    private const double NormEpsilon = 1e-6; // Transformer2DModel.norm, diffusers 0.33

    private readonly GroupNorm norm;
    private readonly Conv2d? convIn;
    private readonly Conv2d? convOut;
    private readonly Linear? linearIn;
    private readonly Linear? linearOut;
    private readonly SpatialTransformerBlock[] blocks;

    /// <param name="scope">Holds norm, proj_in, transformer_blocks and proj_out.</param>
    /// <param name="config">The network's.</param>
    /// <param name="stage">Width, heads and what the attentions read.</param>
    /// <param name="layers">Transformer blocks.</param>
    /// <param name="onlyCrossAttention">Both attentions of a block read the condition.</param>
    public SpatialTransformer(ParameterScope scope, UNet2DConditionConfig config, UNetStage stage, int layers, bool onlyCrossAttention)
    {
        var headSize = stage.Channels / stage.Heads;
        var inner = stage.Heads * headSize;
        norm = new GroupNorm(scope.Child("norm"), stage.Channels, config.NormNumGroups, NormEpsilon);
        if (config.UseLinearProjection)
        {
            linearIn = new Linear(scope.Child("proj_in"), stage.Channels, inner);
            linearOut = new Linear(scope.Child("proj_out"), inner, stage.Channels);
        }
        else
        {
            convIn = new Conv2d(scope.Child("proj_in"), stage.Channels, inner, kernel: 1, channelsLast: true);
            convOut = new Conv2d(scope.Child("proj_out"), inner, stage.Channels, kernel: 1, channelsLast: true);
        }

        blocks = [.. Enumerable.Range(0, layers).Select(i =>
            new SpatialTransformerBlock(scope.Child($"transformer_blocks.{i}"), inner, stage.Heads, stage.CrossAttentionDim, onlyCrossAttention))];
    }

    /// <summary>Keys and values of a condition for every attention that reads it, in the order in which <see cref="Forward"/> takes them.</summary>
    public void Project(Tensor condition, List<(Tensor Keys, Tensor Values)> into)
    {
        foreach (var block in blocks)
        {
            block.Project(condition, into);
        }
    }

    /// <param name="x">[B, C, height, width], float32, channels last.</param>
    /// <param name="context">Gives the condition's keys and values, one attention after the other.</param>
    /// <param name="tap">Is shown attn1, attn2 and ff of every block.</param>
    /// <returns>float32.</returns>
    public Tensor Forward(Tensor x, IEnumerator<(Tensor Keys, Tensor Values)> context, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        var (height, width) = (x.shape[2], x.shape[3]);
        var normed = norm.Forward(x);
        var tokens = linearIn?.Forward(Picture.Tokens(normed)) ?? Picture.Tokens(convIn!.Forward(normed));
        tokens = tokens.to(ScalarType.Float32);
        foreach (var block in blocks)
        {
            tokens = block.Forward(tokens, context, tap);
        }

        var picture = linearOut is not null
            ? Picture.FromTokens(linearOut.Forward(tokens), height, width)
            : convOut!.Forward(Picture.FromTokens(tokens, height, width));
        return (picture.to(ScalarType.Float32) + x).MoveToOuterDisposeScope();
    }
}

/// <summary>BasicTransformerBlock: self-attention, attention to the condition, gated feed-forward; each behind a norm, its input added.</summary>
internal sealed class SpatialTransformerBlock
{
    private const double NormEpsilon = 1e-5; // BasicTransformerBlock's layer norms, diffusers 0.33

    private readonly LayerNorm norm1;
    private readonly LayerNorm norm2;
    private readonly LayerNorm norm3;
    private readonly MultiHeadAttention attention1;
    private readonly MultiHeadAttention attention2;
    private readonly Linear gated;
    private readonly Linear output;
    private readonly bool onlyCrossAttention;
    private readonly string path;

    public SpatialTransformerBlock(ParameterScope scope, int width, int heads, int conditionChannels, bool onlyCrossAttention)
    {
        const int Expansion = 4; // FeedForward.mult
        norm1 = new LayerNorm(scope.Child("norm1"), width, NormEpsilon, affine: true);
        norm2 = new LayerNorm(scope.Child("norm2"), width, NormEpsilon, affine: true);
        norm3 = new LayerNorm(scope.Child("norm3"), width, NormEpsilon, affine: true);
        attention1 = new MultiHeadAttention(scope.Child("attn1"), width, heads, onlyCrossAttention ? conditionChannels : width);
        attention2 = new MultiHeadAttention(scope.Child("attn2"), width, heads, conditionChannels);
        gated = new Linear(scope.Child("ff.net.0.proj"), width, 2 * Expansion * width);
        output = new Linear(scope.Child("ff.net.2"), Expansion * width, width);
        this.onlyCrossAttention = onlyCrossAttention;
        path = scope.Prefix;
    }

    public void Project(Tensor condition, List<(Tensor Keys, Tensor Values)> into)
    {
        if (onlyCrossAttention)
        {
            into.Add(attention1.Project(condition));
        }

        into.Add(attention2.Project(condition));
    }

    /// <param name="x">[B, L, width], float32.</param>
    /// <param name="context">As in <see cref="SpatialTransformer.Forward"/>.</param>
    /// <param name="tap">Is shown attn1, attn2 and ff.</param>
    public Tensor Forward(Tensor x, IEnumerator<(Tensor Keys, Tensor Values)> context, ActivationTap? tap)
    {
        using var scope = NewDisposeScope();
        var normed = norm1.Forward(x);
        var attended = attention1.Forward(normed, onlyCrossAttention ? Next(context) : attention1.Project(normed));
        tap?.Invoke($"{path}.attn1", attended);
        x = x + attended;

        attended = attention2.Forward(norm2.Forward(x), Next(context));
        tap?.Invoke($"{path}.attn2", attended);
        x = x + attended;

        // GEGLU: the value first, then the gate, which has the exact GELU.
        var halves = gated.Forward(norm3.Forward(x)).chunk(2, -1);
        var fed = output.Forward(halves[0] * nn.functional.gelu(halves[1])).to(ScalarType.Float32);
        tap?.Invoke($"{path}.ff", fed);
        return (x + fed).MoveToOuterDisposeScope();
    }

    private static (Tensor Keys, Tensor Values) Next(IEnumerator<(Tensor Keys, Tensor Values)> context) =>
        context.MoveNext() ? context.Current : throw new InvalidOperationException("the context was prepared by another network");
}

/// <summary>Softmax attention with queries, keys and values without a bias.</summary>
internal sealed class MultiHeadAttention(ParameterScope scope, int width, int heads, int contextChannels)
{
    private readonly Linear toQuery = new(scope.Child("to_q"), width, width, bias: false);
    private readonly Linear toKey = new(scope.Child("to_k"), contextChannels, width, bias: false);
    private readonly Linear toValue = new(scope.Child("to_v"), contextChannels, width, bias: false);
    private readonly Linear toOut = new(scope.Child("to_out.0"), width, width);

    /// <param name="context">[B, T, channels].</param>
    /// <returns>[B, H, T, D] each.</returns>
    public (Tensor Keys, Tensor Values) Project(Tensor context)
    {
        using var disposeScope = NewDisposeScope();
        var keys = SoftmaxAttention.SplitHeads(toKey.Forward(context), heads);
        var values = SoftmaxAttention.SplitHeads(toValue.Forward(context), heads);
        return (keys.MoveToOuterDisposeScope(), values.MoveToOuterDisposeScope());
    }

    /// <param name="x">[B, L, width].</param>
    /// <param name="context">Of the same B rows.</param>
    /// <returns>[B, L, width], float32.</returns>
    public Tensor Forward(Tensor x, (Tensor Keys, Tensor Values) context)
    {
        using var disposeScope = NewDisposeScope();
        var query = SoftmaxAttention.SplitHeads(toQuery.Forward(x), heads);
        return toOut.Forward(SoftmaxAttention.Attend(query, context.Keys, context.Values)).to(ScalarType.Float32).MoveToOuterDisposeScope();
    }
}
