using MetaQuery.Imaging;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Vision;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Vision;

/// <summary>Pictures -> states among a decoder's tokens: a model's image processor and its vision tower.</summary>
/// <remarks>A picture's states are a function of it alone. Safe to call from several threads at once.</remarks>
public sealed class VisionModel : IDisposable
{
    private readonly Device _device;
    private bool _isShared;

    /// <param name="tower">Owned from here on.</param>
    /// <param name="device">Where the tower's weights are; null: the CPU.</param>
    public VisionModel(IVisionTower tower, IImageProcessor processor, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(tower);
        ArgumentNullException.ThrowIfNull(processor);
        (Tower, Processor, _device) = (tower, processor, device ?? CPU);
    }

    /// <summary>The same tower behind another processor: disposing it leaves the tower to this.</summary>
    public VisionModel WithProcessor(IImageProcessor processor) => new(Tower, processor, _device) { _isShared = true };

    public IVisionTower Tower { get; }

    public IImageProcessor Processor { get; }

    /// <summary>Pictures that went through the tower so far.</summary>
    public long Passes => Interlocked.Read(ref _passes);

    private long _passes;

    /// <param name="folder">The MLLM's: config.json and preprocessor_config.json.</param>
    /// <param name="mllm">The MLLM's tensors; read during the call only.</param>
    /// <param name="forConditions">As MetaQuery reads pictures; else as the MLLM alone does.</param>
    /// <returns>Null where the MLLM has no vision tower that is built here.</returns>
    /// <exception cref="CheckpointException">A file or a tensor is missing or malformed.</exception>
    public static VisionModel? Load(
        HuggingFaceFolder folder, WeightSource mllm, bool forConditions, ScalarType dtype = ScalarType.Float32, Device? device = null, bool packed = false)
    {
        ArgumentNullException.ThrowIfNull(folder);
        var config = folder.ReadConfig();
        var kind = MllmKinds.Of(config);
        if (kind == MllmKind.Text)
            return null;
        var processor = ImageProcessors.Read(kind, folder.Path, forConditions);
        return new VisionModel(MllmKinds.LoadTower(config, MllmKinds.Named(mllm), dtype, device, packed)!, processor, device);
    }

    /// <param name="observe">As the tower's.</param>
    /// <returns>Owned by the caller.</returns>
    /// <exception cref="ImageFormatException">The model's processor refuses the picture.</exception>
    public ImageFeatures Encode(RgbImage image, Action<string, Tensor>? observe = null)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var processed = Processor.Process(image);
        var values = tensor(processed.Values, [.. processed.Shape]).to(_device);
        observe?.Invoke("pixel_values", values);
        var features = Tower.Encode(new ImageInput(values, processed.Rows, processed.Columns, processed.HeightPixels, processed.WidthPixels), observe);
        Interlocked.Increment(ref _passes);
        return features;
    }

    public void Dispose()
    {
        if (!_isShared)
            Tower.Dispose();
    }
}
