using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>SigLIP: features of texts and pictures, and how well they fit (transformers 4.49, modeling_siglip.py).</summary>
public sealed class SiglipModel : IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly Tensor _scale; // the factor's logarithm
    private readonly Tensor _bias;

    /// <param name="file">config.json, with the sections text_config and vision_config.</param>
    /// <param name="weights">Read during the call only.</param>
    /// <param name="dtype">float32 or bfloat16.</param>
    /// <param name="packed">For inference on the CPU: packed weights and fused kernels, no gradients.</param>
    /// <exception cref="CheckpointException">A value or a tensor is missing or malformed.</exception>
    public SiglipModel(ConfigFile file, WeightSource weights, ScalarType dtype = ScalarType.Float32, Device? device = null, bool packed = false)
    {
        ArgumentNullException.ThrowIfNull(file);
        ArgumentNullException.ThrowIfNull(weights);
        if (file.String("model_type") is var type and not "siglip")
            throw file.Error("model_type", $"is \"{type}\", a SigLIP model's is \"siglip\"");
        try
        {
            Text = Own(new SiglipTextModel(SiglipTextConfig.Read(file.Section("text_config")), weights.WithPrefix("text_model."), dtype, device, packed));
            Vision = Own(new SiglipVisionModel(SiglipVisionConfig.Read(file.Section("vision_config")), weights.WithPrefix("vision_model."), dtype, device, packed));
            _scale = Own(Scalar("logit_scale"));
            _bias = Own(Scalar("logit_bias"));
        }
        catch
        {
            Dispose();
            throw;
        }

        Tensor Scalar(string key)
        {
            var value = weights.Load(key, [1], ScalarType.Float32);
            return (device is null ? value : value.to(device, disposeAfter: true)).DetachFromDisposeScope();
        }
    }

    public SiglipTextModel Text { get; }

    public SiglipVisionModel Vision { get; }

    /// <summary>cos(text, picture) · exp(logit_scale) + logit_bias.</summary>
    /// <param name="textFeatures">[texts, D].</param>
    /// <param name="imageFeatures">[pictures, D].</param>
    /// <returns>[texts, pictures], float32.</returns>
    public Tensor LogitsPerText(Tensor textFeatures, Tensor imageFeatures)
    {
        using var scope = NewDisposeScope();
        return ((Normalize(textFeatures).matmul(Normalize(imageFeatures).t()) * _scale.exp()) + _bias).MoveToOuterDisposeScope();
    }

    /// <param name="features">[rows, D].</param>
    /// <returns>[rows, D]: each row divided by its length.</returns>
    public static Tensor Normalize(Tensor features)
    {
        ArgumentNullException.ThrowIfNull(features);
        using var scope = NewDisposeScope();
        return (features / features.norm(-1, keepdim: true)).MoveToOuterDisposeScope();
    }

    public void Dispose() => _owned.ForEach(part => part.Dispose());

    private T Own<T>(T part)
        where T : IDisposable
    {
        _owned.Add(part);
        return part;
    }
}

/// <summary>SigLIP's text model: no mask, padding is read like any token, and a text's state is that at its last place.</summary>
public sealed class SiglipTextModel : IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly Tensor _table; // [vocabulary, C], float32
    private readonly Tensor _positions; // [most tokens, C], float32
    private readonly SiglipEncoder _encoder;
    private readonly AffineNorm _finalNorm;
    private readonly VisionLinear _head;

    /// <inheritdoc cref="SiglipVisionModel(SiglipVisionConfig, WeightSource, ScalarType, Device?, bool, int?)"/>
    public SiglipTextModel(SiglipTextConfig config, WeightSource weights, ScalarType dtype = ScalarType.Float32, Device? device = null, bool packed = false)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(weights);
        Config = config;
        var settings = new VisionLinear.Settings(dtype, device, packed);
        var size = config.Encoder.HiddenSize;
        try
        {
            _table = Own(Table("embeddings.token_embedding.weight", config.VocabularySize));
            _positions = Own(Table("embeddings.position_embedding.weight", config.MaxPositionEmbeddings));
            _encoder = Own(new SiglipEncoder(config.Encoder, weights.WithPrefix("encoder."), settings));
            _finalNorm = Own(AffineNorm.Load(weights, "final_layer_norm", size, config.Encoder.LayerNormEpsilon, settings with { Packed = false }));
            _head = Own(VisionLinear.Load(weights, size, bias: true, settings, ("head", config.ProjectionSize)));
        }
        catch
        {
            Dispose();
            throw;
        }

        Tensor Table(string key, int rows)
        {
            var table = weights.Load(key, [rows, size], ScalarType.Float32);
            return (device is null ? table : table.to(device, disposeAfter: true)).DetachFromDisposeScope();
        }
    }

    public SiglipTextConfig Config { get; }

    /// <summary>Texts' features, not normalised.</summary>
    /// <param name="inputIds">[texts, L], int64, filled up to <see cref="SiglipTextConfig.MaxPositionEmbeddings"/> with <see cref="SiglipTextConfig.PadTokenId"/>.</param>
    /// <param name="observe">Is shown "embeddings", "layer.i" and "final_layer_norm".</param>
    /// <returns>[texts, D], float32.</returns>
    /// <exception cref="ArgumentException">The texts are longer than the model's positions.</exception>
    public Tensor Features(Tensor inputIds, Action<string, Tensor>? observe = null)
    {
        ArgumentNullException.ThrowIfNull(inputIds);
        var (texts, length) = (inputIds.shape[0], inputIds.shape[1]);
        if (length > Config.MaxPositionEmbeddings)
            throw new ArgumentException($"texts of {length} tokens, the model reads {Config.MaxPositionEmbeddings}", nameof(inputIds));
        using var scope = NewDisposeScope();
        var embedded = _table.index_select(0, inputIds.reshape(-1)).view(texts, length, -1) + _positions.narrow(0, 0, length);
        observe?.Invoke("embeddings", embedded);
        var normed = _finalNorm.Forward(_encoder.Forward(embedded, observe));
        observe?.Invoke("final_layer_norm", normed);
        return _head.Forward(normed.select(1, length - 1)).MoveToOuterDisposeScope();
    }

    public void Dispose() => _owned.ForEach(part => part.Dispose());

    private T Own<T>(T part)
        where T : IDisposable
    {
        _owned.Add(part);
        return part;
    }
}
