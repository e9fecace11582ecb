using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>LLaVA-OneVision's way from a picture to tokens: SigLIP over the whole picture and over its tiles, the projector, and the packing of the
/// tiles with a newline behind each row (transformers 4.49, modeling_llava_onevision.py, pack_image_features).</summary>
/// <remarks>An image's values are [1 + rows · columns, 3, side, side]: the whole picture, then its tiles row by row.</remarks>
public sealed class LlavaOnevisionTower : IVisionTower
{
    private readonly List<IDisposable> _owned = [];
    private readonly SiglipVisionModel _vision;
    private readonly VisionLinear _first;
    private readonly VisionLinear _second;
    private readonly Tensor _newline; // [C], float32

    /// <param name="weights">The whole model's tensors; read during the call only.</param>
    /// <param name="dtype">float32 or bfloat16.</param>
    /// <param name="packed">For inference on the CPU: packed weights and fused kernels, no gradients.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public LlavaOnevisionTower(LlavaOnevisionConfig config, WeightSource weights, ScalarType dtype = ScalarType.Float32, Device? device = null, bool packed = false)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(weights);
        Config = config;
        var settings = new VisionLinear.Settings(dtype, device, packed);
        try
        {
            // Layers behind the last one that is read, the last norm among them, are in the file but change nothing.
            _vision = Own(new SiglipVisionModel(
                config.Vision, weights.WithPrefix("vision_tower.vision_model."), dtype, device, packed, layers: config.FeatureLayers.Max()));
            var inputs = config.Vision.Encoder.HiddenSize * config.FeatureLayers.Count;
            _first = Own(VisionLinear.Load(weights, inputs, config.ProjectorBias, settings, ("multi_modal_projector.linear_1", config.OutputSize)));
            _second = Own(VisionLinear.Load(weights, config.OutputSize, config.ProjectorBias, settings, ("multi_modal_projector.linear_2", config.OutputSize)));
            var newline = weights.Load("image_newline", [config.OutputSize], ScalarType.Float32);
            _newline = Own((device is null ? newline : newline.to(device, disposeAfter: true)).DetachFromDisposeScope());
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public LlavaOnevisionConfig Config { get; }

    public long ImageTokenId => Config.ImageTokenId;

    /// <inheritdoc/>
    /// <param name="observe">Is shown "embeddings", "layer.i", "projector" [tiles, T, C] and "image_features".</param>
    /// <exception cref="ArgumentException">The values have another shape than the tiles ask for.</exception>
    public ImageFeatures Encode(ImageInput image, Action<string, Tensor>? observe = null)
    {
        ArgumentNullException.ThrowIfNull(image);
        var tiles = 1L + ((long)image.Rows * image.Columns);
        if (image.Values.dim() != 4 || image.Values.shape[0] != tiles || image.Rows < 1 || image.Columns < 1)
            throw new ArgumentException($"values of shape [{string.Join(", ", image.Values.shape)}], a picture of {image.Rows} x {image.Columns} tiles needs {tiles} pictures", nameof(image));
        using var scope = NewDisposeScope();
        var states = Read(image.Values, observe);
        var channels = states.shape[2];
        var projected = _second.Forward(_first.Forward(states.view(-1, channels), Config.ProjectorActivation)).view(tiles, states.shape[1], -1);
        observe?.Invoke("projector", projected);
        var packed = Pack(projected, image);
        observe?.Invoke("image_features", packed);
        return new ImageFeatures(packed.DetachFromDisposeScope(), 0, 0);
    }

    public void Dispose() => _owned.ForEach(part => part.Dispose());

    private Tensor Read(Tensor pixels, Action<string, Tensor>? observe)
    {
        if (Config.FeatureLayers is [var only] && only > 0)
            return _vision.Encode(pixels, observe); // up to that layer and no further
        using var scope = NewDisposeScope();
        var shown = new Dictionary<int, Tensor>();
        void Keep(string name, Tensor state)
        {
            observe?.Invoke(name, state);
            var after = name == "embeddings" ? 0 : int.Parse(name.AsSpan("layer.".Length), System.Globalization.CultureInfo.InvariantCulture) + 1;
            if (Config.FeatureLayers.Contains(after))
                shown[after] = state.clone().MoveToOtherDisposeScope(scope);
        }

        _vision.Encode(pixels, Keep);
        return cat(Config.FeatureLayers.Select(layer => shown[layer]).ToArray(), -1).MoveToOuterDisposeScope();
    }

    /// <returns>[tokens, C]: the whole picture's states, then the tiles' as one picture: without the border that made it fit, no larger than
    /// <see cref="LlavaOnevisionConfig.MaxTiles"/> tiles, and a newline behind every row.</returns>
    private Tensor Pack(Tensor projected, ImageInput image)
    {
        using var scope = NewDisposeScope();
        var (side, channels) = ((long)Config.Vision.PatchesPerSide, projected.shape[2]);
        var grid = projected.narrow(0, 1, projected.shape[0] - 1).view(image.Rows, image.Columns, side, side, channels)
            .permute(4, 0, 2, 1, 3).reshape(channels, image.Rows * side, image.Columns * side);
        var plan = AnyResolutionPacking.Plan(side, Config.MaxTiles, image.Rows, image.Columns, image.HeightPixels, image.WidthPixels);
        grid = grid.narrow(1, plan.TopBorder, plan.Rows).narrow(2, plan.LeftBorder, plan.Columns);
        if (plan.IsShrunk)
            grid = nn.functional.interpolate(grid.unsqueeze(0), [plan.PackedRows, plan.PackedColumns], mode: InterpolationMode.Bilinear, align_corners: false).squeeze(0);

        var newlines = _newline.view(channels, 1, 1).expand(channels, grid.shape[1], 1);
        var rows = cat([grid, newlines], -1).flatten(1, 2).transpose(0, 1);
        return cat([projected.select(0, 0), rows], 0).MoveToOuterDisposeScope();
    }

    private T Own<T>(T part)
        where T : IDisposable
    {
        _owned.Add(part);
        return part;
    }
}
