using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>SigLIP's vision model: patches with learned positions, the encoder, and (where the checkpoint has them) its norm and pooling head.</summary>
public sealed class SiglipVisionModel : IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly VisionLinear _patches;
    private readonly Tensor _positions; // [T, C], float32
    private readonly SiglipEncoder _encoder;
    private readonly AffineNorm? _postNorm;
    private readonly SiglipPoolingHead? _head;

    /// <param name="weights">Tensors named embeddings..., encoder... and so on; read during the call only.</param>
    /// <param name="dtype">float32 or bfloat16.</param>
    /// <param name="packed">For inference on the CPU: packed weights and fused kernels, no gradients.</param>
    /// <param name="layers">How many layers are needed where nothing behind the encoder is (the norm and the head are then not loaded); null: the whole model.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public SiglipVisionModel(
        SiglipVisionConfig config, WeightSource weights, ScalarType dtype = ScalarType.Float32, Device? device = null, bool packed = false, int? layers = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(weights);
        Config = config;
        var settings = new VisionLinear.Settings(dtype, device, packed);
        var (size, side) = (config.Encoder.HiddenSize, config.PatchSize);
        try
        {
            _patches = Own(VisionLinear.LoadPatches(
                weights, "embeddings.patch_embedding.weight", "embeddings.patch_embedding.bias", [size, config.Channels, side, side], settings));
            var positions = weights.Load("embeddings.position_embedding.weight", [(long)config.PatchesPerSide * config.PatchesPerSide, size], ScalarType.Float32);
            _positions = Own((device is null ? positions : positions.to(device, disposeAfter: true)).DetachFromDisposeScope());
            _encoder = Own(new SiglipEncoder(config.Encoder, weights.WithPrefix("encoder."), settings, layers));
            if (layers is null)
                _postNorm = Own(AffineNorm.Load(weights, "post_layernorm", size, config.Encoder.LayerNormEpsilon, settings with { Packed = false }));
            if (layers is null && config.UseHead)
                _head = Own(new SiglipPoolingHead(config.Encoder, weights.WithPrefix("head."), settings));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public SiglipVisionConfig Config { get; }

    /// <summary>The encoder's last states, before the norm.</summary>
    /// <param name="pixels">[pictures, 3, side, side], float32.</param>
    /// <param name="observe">Is shown "embeddings" and "layer.i".</param>
    /// <returns>[pictures, T, C], float32.</returns>
    /// <exception cref="ArgumentException">The pictures have another size.</exception>
    public Tensor Encode(Tensor pixels, Action<string, Tensor>? observe = null)
    {
        ArgumentNullException.ThrowIfNull(pixels);
        if (pixels.dim() != 4 || pixels.shape[1] != Config.Channels || pixels.shape[2] != Config.ImageSize || pixels.shape[3] != Config.ImageSize)
            throw new ArgumentException($"pictures of shape [{string.Join(", ", pixels.shape)}], [pictures, {Config.Channels}, {Config.ImageSize}, {Config.ImageSize}] is needed", nameof(pixels));
        using var scope = NewDisposeScope();
        var (count, side, patch) = (pixels.shape[0], (long)Config.PatchesPerSide, (long)Config.PatchSize);
        var patches = pixels.narrow(2, 0, side * patch).narrow(3, 0, side * patch)
            .reshape(count, Config.Channels, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5).reshape(count * side * side, -1);
        var embedded = _patches.Forward(patches).view(count, side * side, -1) + _positions;
        observe?.Invoke("embeddings", embedded);
        return _encoder.Forward(embedded, observe).MoveToOuterDisposeScope();
    }

    /// <summary>A picture's features, not normalised.</summary>
    /// <param name="observe">As <see cref="Encode"/>, and "post_layernorm".</param>
    /// <returns>[pictures, C], float32.</returns>
    /// <exception cref="InvalidOperationException">The model was loaded without its head.</exception>
    public Tensor Features(Tensor pixels, Action<string, Tensor>? observe = null)
    {
        if (_postNorm is null || _head is null)
            throw new InvalidOperationException("the vision model was loaded without its pooling head, or has none (vision_use_head)");
        using var scope = NewDisposeScope();
        var normed = _postNorm.Forward(Encode(pixels, observe));
        observe?.Invoke("post_layernorm", normed);
        return _head.Forward(normed).MoveToOuterDisposeScope();
    }

    public void Dispose() => _owned.ForEach(part => part.Dispose());

    private T Own<T>(T part)
        where T : IDisposable
    {
        _owned.Add(part);
        return part;
    }
}

/// <summary>Attention pooling: one learned query looks at all states; a feed-forward behind a norm is added to what it sees.</summary>
internal sealed class SiglipPoolingHead : IDisposable
{
    private readonly SiglipEncoderConfig _config;
    private readonly List<IDisposable> _owned = [];
    private readonly Tensor _probe; // [1, C], float32
    private readonly VisionLinear _query;
    private readonly VisionLinear _keyValue;
    private readonly VisionLinear _output;
    private readonly AffineNorm _norm;
    private readonly VisionLinear _first;
    private readonly VisionLinear _second;

    public SiglipPoolingHead(SiglipEncoderConfig config, WeightSource weights, VisionLinear.Settings settings)
    {
        _config = config;
        var (size, inner) = (config.HiddenSize, config.IntermediateSize);
        try
        {
            using var scope = NewDisposeScope();
            var probe = weights.Load("probe", [1, 1, size], ScalarType.Float32).view(1, size);
            _probe = Own((settings.Device is null ? probe : probe.to(settings.Device)).DetachFromDisposeScope());
            // torch's MultiheadAttention packs queries, keys and values into one matrix; the query here is another input than the keys.
            const string Weight = "attention.in_proj_weight", Bias = "attention.in_proj_bias";
            _query = Own(VisionLinear.LoadRows(weights, Weight, Bias, [3 * size, size], first: 0, rows: size, settings));
            _keyValue = Own(VisionLinear.LoadRows(weights, Weight, Bias, [3 * size, size], first: size, rows: 2 * size, settings));
            _output = Own(VisionLinear.Load(weights, size, bias: true, settings, ("attention.out_proj", size)));
            _norm = Own(AffineNorm.Load(weights, "layernorm", size, config.LayerNormEpsilon, settings));
            _first = Own(VisionLinear.Load(weights, size, bias: true, settings, ("mlp.fc1", inner)));
            _second = Own(VisionLinear.Load(weights, inner, bias: true, settings, ("mlp.fc2", size)));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <param name="states">[pictures, T, C], float32.</param>
    /// <returns>[pictures, C], float32.</returns>
    public Tensor Forward(Tensor states)
    {
        using var scope = NewDisposeScope();
        var (count, tokens, heads) = (states.shape[0], states.shape[1], _config.NumAttentionHeads);
        var query = _query.Forward(_probe).view(1, 1, heads, -1).transpose(1, 2).expand(count, heads, 1, _config.HeadSize);
        var parts = _keyValue.Forward(states.reshape(count * tokens, -1)).view(count, tokens, 2, heads, -1).permute(2, 0, 3, 1, 4).unbind(0);
        var attended = Attention.Grouped(query, parts[0], parts[1], mask: null).reshape(count, _config.HiddenSize);
        var pooled = _output.Forward(attended);
        return _second.AddTo(pooled, _first.Forward(_norm.Forward(pooled), _config.Activation)).MoveToOuterDisposeScope();
    }

    public void Dispose() => _owned.ForEach(part => part.Dispose());

    private T Own<T>(T part)
        where T : IDisposable
    {
        _owned.Add(part);
        return part;
    }
}
