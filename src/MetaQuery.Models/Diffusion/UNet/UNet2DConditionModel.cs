using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>
/// The UNet of Stable Diffusion 1 and 2 (Rombach et al., arXiv 2112.10752), as diffusers 0.33 computes it: plain tensor operators,
/// differentiable, on any device. Pictures lie channels-last in memory.
/// </summary>
public sealed class UNet2DConditionModel : IConditionedNetwork<UNetContext>
{
    private readonly ParameterScope parameters;
    private readonly Conv2d convIn;
    private readonly Linear time1;
    private readonly Linear time2;
    private readonly UNetDownBlock[] down;
    private readonly UNetMidBlock? middle;
    private readonly UNetUpBlock[] up;
    private readonly GroupNorm normOut;
    private readonly Conv2d convOut;

    private UNet2DConditionModel(ParameterScope scope, UNet2DConditionConfig config)
    {
        parameters = scope;
        Config = config;
        var finest = config.Down[0].Channels;
        convIn = new Conv2d(scope.Child("conv_in"), config.InChannels, finest, config.ConvInKernel, channelsLast: true);
        time1 = new Linear(scope.Child("time_embedding.linear_1"), finest, config.TimeEmbeddingDim);
        time2 = new Linear(scope.Child("time_embedding.linear_2"), config.TimeEmbeddingDim, config.TimeEmbeddingDim);
        var count = config.Down.Count;
        down = [.. Enumerable.Range(0, count).Select(i =>
            new UNetDownBlock(scope.Child($"down_blocks.{i}"), config, config.Down[i], config.Down[Math.Max(i - 1, 0)].Channels, isLast: i == count - 1))];
        middle = config.MidBlockType is null ? null : new UNetMidBlock(scope.Child("mid_block"), config);
        up = [.. Enumerable.Range(0, count).Select(i => new UNetUpBlock(
            scope.Child($"up_blocks.{i}"), config, config.Up[i], config.Up[Math.Max(i - 1, 0)].Channels, config.Up[Math.Min(i + 1, count - 1)].Channels, isLast: i == count - 1))];
        normOut = new GroupNorm(scope.Child("conv_norm_out"), finest, config.NormNumGroups, config.NormEpsilon);
        convOut = new Conv2d(scope.Child("conv_out"), finest, config.OutChannels, config.ConvOutKernel, channelsLast: true);
    }

    public UNet2DConditionConfig Config { get; }

    /// <summary>Parameters under the checkpoint's names; borrowed.</summary>
    public IReadOnlyDictionary<string, Tensor> Parameters => parameters.Loaded;

    /// <summary>If set, is shown the outputs of submodules under their names in the checkpoint.</summary>
    public ActivationTap? Tap { get; set; }

    /// <param name="source">diffusion_pytorch_model.safetensors of a unet folder.</param>
    /// <param name="config">Its config.json.</param>
    /// <param name="dtype">Of the weights, matrix products and convolutions; the residual stream and the norms stay float32.</param>
    /// <param name="device">Where the weights are put; the CPU if null.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public static UNet2DConditionModel Load(
        WeightSource source, UNet2DConditionConfig config, ScalarType dtype = ScalarType.Float32, Device? device = null) =>
        ParameterScope.Build(source, dtype, device, scope => new UNet2DConditionModel(scope, config));

    /// <summary>Everything the attentions need of a condition, which no step changes.</summary>
    /// <param name="condition">[B, T, condition channels].</param>
    /// <returns>The caller disposes of it.</returns>
    /// <exception cref="ArgumentException">The shape is another.</exception>
    public UNetContext Prepare(Tensor condition)
    {
        if (condition.dim() != 3 || condition.shape[1] < 1 || condition.shape[2] != Config.CrossAttentionDim)
        {
            throw new ArgumentException($"a condition has the shape [{string.Join(", ", condition.shape)}], expected [B, T, {Config.CrossAttentionDim}]", nameof(condition));
        }

        using var scope = NewDisposeScope();
        var all = new List<(Tensor Keys, Tensor Values)>();
        Array.ForEach(down, block => block.Project(condition, all));
        middle?.Project(condition, all);
        Array.ForEach(up, block => block.Project(condition, all));
        return new UNetContext([.. all.Select(pair => (pair.Keys.MoveToOuterDisposeScope(), pair.Values.MoveToOuterDisposeScope()))]);
    }

    /// <summary>The network's output for a batch: the predicted noise, or what the checkpoint was trained to predict.</summary>
    /// <param name="latents">[B, in channels, height, width].</param>
    /// <param name="timesteps">[B], of 0 … 999.</param>
    /// <param name="context">Of the same B rows.</param>
    /// <returns>[B, out channels, height, width], float32; the caller owns it.</returns>
    /// <exception cref="ArgumentException">Shapes disagree.</exception>
    public Tensor Forward(Tensor latents, ReadOnlySpan<float> timesteps, UNetContext context)
    {
        if (latents.dim() != 4 || latents.shape[1] != Config.InChannels || latents.shape[2] < 1 || latents.shape[3] < 1)
        {
            throw new ArgumentException($"latents have the shape [{string.Join(", ", latents.shape)}], expected [B, {Config.InChannels}, height, width]", nameof(latents));
        }

        if (timesteps.Length != latents.shape[0] || (context.KeysAndValues.Count > 0 && context.Rows != latents.shape[0]))
        {
            throw new ArgumentException($"{timesteps.Length} timesteps and a context of {context.Rows} rows were given for {latents.shape[0]} rows", nameof(timesteps));
        }

        using var scope = NewDisposeScope();
        var pass = new UNetPass(EmbedTimesteps(timesteps, latents.device), context.KeysAndValues.GetEnumerator(), Tap);
        var x = Config.CenterInputSample ? (latents * 2) - 1 : latents;
        x = convIn.Forward(Picture.ChannelsLast(x)).to(ScalarType.Float32);
        Tap?.Invoke("conv_in", x);
        var skips = new List<Tensor> { x };
        foreach (var block in down)
        {
            x = block.Forward(x, pass, skips);
        }

        if (middle is not null)
        {
            x = middle.Forward(x, pass);
            Tap?.Invoke("mid_block", x);
        }

        for (var i = 0; i < up.Length; i++)
        {
            x = up[i].Forward(x, pass, skips);
            Tap?.Invoke($"up_blocks.{i}", x);
        }

        x = normOut.Forward(x);
        Tap?.Invoke("conv_norm_out", x);
        return convOut.Forward(Config.Activation(x)).to(ScalarType.Float32).contiguous().MoveToOuterDisposeScope();
    }

    int IConditionedNetwork<UNetContext>.InChannels => Config.InChannels;

    public void Dispose() => parameters.DisposeLoaded();

    internal static ResidualBlockOptions ResidualOptions(UNet2DConditionConfig config) =>
        new(config.NormNumGroups, config.NormEpsilon, config.Activation, config.TimeEmbeddingDim, config.TimeScaleShift);

    // Every residual block activates the embedding before it projects it: once is enough.
    private Tensor EmbedTimesteps(ReadOnlySpan<float> timesteps, Device device)
    {
        using var scope = NewDisposeScope();
        var channels = Config.Down[0].Channels;
        var table = tensor(
            SineEmbedding.OfTimesteps(timesteps, channels, Config.CosinesFirst, Config.FrequencyShift), [timesteps.Length, channels]).to(device);
        Tap?.Invoke("time_proj", table);
        var embedding = time2.Forward(Config.Activation(time1.Forward(table)));
        embedding = Config.TimestepPostActivation?.Invoke(embedding) ?? embedding;
        Tap?.Invoke("time_embedding", embedding);
        embedding = Config.TimeEmbeddingActivation?.Invoke(embedding) ?? embedding;
        return Config.Activation(embedding).to(ScalarType.Float32).MoveToOuterDisposeScope();
    }
}
