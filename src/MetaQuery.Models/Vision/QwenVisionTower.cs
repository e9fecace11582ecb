using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>Qwen2.5-VL's vision tower: patches, blocks that see a window or the whole picture, and a merger of squares of patches into tokens
/// (transformers 4.49, modeling_qwen2_5_vl.py).</summary>
/// <remarks>An image's values are [patches, channels · frames · side · side]: the patches token by token (row by row of tokens, a token's own row by row).</remarks>
public sealed unsafe class QwenVisionTower : IVisionTower
{
    private const double RmsNormEpsilon = 1e-6; // Qwen2_5_VLVisionBlock and Qwen2_5_VLPatchMerger state it in code
    private readonly TransformerLayerConfig _layer;
    private readonly KernelType _type;
    private readonly List<IDisposable> _owned = [];
    private readonly VisionLinear _patches;
    private readonly PackedLayer[] _packed = [];
    private readonly TransformerLayer[] _plain = [];
    private readonly RmsNorm _mergerNorm;
    private readonly VisionLinear _mergerFirst;
    private readonly VisionLinear _mergerSecond;

    /// <param name="weights">The tower's own tensors (a view with the prefix "visual."); read during the call only.</param>
    /// <param name="dtype">float32 or bfloat16.</param>
    /// <param name="packed">For inference on the CPU: packed weights and fused kernels, no gradients.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public QwenVisionTower(QwenVisionConfig config, WeightSource weights, ScalarType dtype = ScalarType.Float32, Device? device = null, bool packed = false)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(weights);
        Config = config;
        var settings = new VisionLinear.Settings(dtype, device, packed);
        _type = settings.KernelType;
        _layer = new TransformerLayerConfig(
            config.HiddenSize, config.IntermediateSize, config.NumHeads, config.NumHeads, config.HeadSize, RmsNormEpsilon,
            QueryKeyValueBias: true, OutputBias: true, MlpBias: true, HeadNorm: false)
        { Keys = TransformerLayerKeys.VisionBlock };
        var merged = config.HiddenSize * config.SpatialMergeSize * config.SpatialMergeSize;
        var blocks = Enumerable.Range(0, config.Depth).Select(i => weights.WithPrefix($"blocks.{i}.")).ToList();
        try
        {
            _patches = Own(VisionLinear.LoadPatches(
                weights, "patch_embed.proj.weight", bias: null, [config.HiddenSize, config.Channels, config.TemporalPatchSize, config.PatchSize, config.PatchSize], settings));
            if (packed)
                _owned.AddRange(_packed = PackedLayers.LoadAll(_layer, blocks, _type));
            else
                _plain = [.. blocks.Select(block => Own(new TransformerLayer(_layer, block, dtype, device)))];
            _mergerNorm = Own(RmsNorm.Load(weights, "merger.ln_q.weight", config.HiddenSize, RmsNormEpsilon, device));
            _mergerFirst = Own(VisionLinear.Load(weights, merged, bias: true, settings, ("merger.mlp.0", merged)));
            _mergerSecond = Own(VisionLinear.Load(weights, merged, bias: true, settings, ("merger.mlp.2", config.OutputSize)));
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public QwenVisionConfig Config { get; }

    public long ImageTokenId => Config.ImageTokenId;

    /// <inheritdoc/>
    /// <param name="observe">Is shown "patch_embed" (in the picture's order), "block.i" (in window order) and "output".</param>
    /// <exception cref="ArgumentException">The values have another shape than the grid asks for.</exception>
    public ImageFeatures Encode(ImageInput image, Action<string, Tensor>? observe = null)
    {
        ArgumentNullException.ThrowIfNull(image);
        using var scope = NewDisposeScope();
        var layout = new QwenVisionLayout(Config, image.Rows, image.Columns);
        if (image.Values.dim() != 2 || image.Values.shape[0] != layout.Patches || image.Values.shape[1] != Config.PatchLength)
            throw new ArgumentException($"values of shape [{string.Join(", ", image.Values.shape)}], {image.Rows} x {image.Columns} patches need [{layout.Patches}, {Config.PatchLength}]", nameof(image));

        var x = _patches.Forward(image.Values);
        observe?.Invoke("patch_embed", x);
        var index = tensor(layout.WindowIndex, device: x.device);
        x = x.view(layout.WindowIndex.Length, -1).index_select(0, index).view(layout.Patches, Config.HiddenSize);
        x = _packed.Length > 0 ? PackedBlocks(x, layout, observe) : PlainBlocks(x, layout, observe);

        var merged = _mergerNorm.Forward(x).view(layout.WindowIndex.Length, -1);
        var tokens = _mergerSecond.Forward(_mergerFirst.Forward(merged, VisionActivation.Gelu));
        tokens = tokens.index_select(0, index.argsort());
        observe?.Invoke("output", tokens);
        return new ImageFeatures(tokens.DetachFromDisposeScope(), layout.TokenRows, layout.TokenColumns);
    }

    public void Dispose() => _owned.ForEach(part => part.Dispose());

    private Tensor PackedBlocks(Tensor x, QwenVisionLayout layout, Action<string, Tensor>? observe)
    {
        using var scope = NewDisposeScope();
        var angles = layout.Angles();
        using var cosines = PackedWeights.Floats(angles.cos());
        using var sines = PackedWeights.Floats(angles.sin());
        using var work = new PackedWorkspace(_layer, _type, layout.Patches);
        long[] whole = [0, layout.Patches];
        fixed (byte* stream = x.bytes)
        fixed (long* window = layout.WindowOffsets, all = whole)
        {
            var rotary = new RotaryAngles { Cosines = cosines.Floats, Sines = sines.Floats, PerToken = true };
            var windows = new SequenceTokens { Offsets = window, Sequences = layout.WindowOffsets.Length - 1 };
            var full = new SequenceTokens { Offsets = all, Sequences = 1 };
            for (var i = 0; i < _packed.Length; i++)
            {
                _packed[i].Forward((float*)stream, layout.Patches, Config.FullAttentionBlocks.Contains(i) ? full : windows, rotary, default, work, get_num_threads());
                observe?.Invoke($"block.{i}", x);
            }
        }

        return x;
    }

    // Windows become rows of a batch, padded to the largest; every block but the few full ones runs so.
    private Tensor PlainBlocks(Tensor x, QwenVisionLayout layout, Action<string, Tensor>? observe)
    {
        using var scope = NewDisposeScope();
        var angles = layout.Angles().to(x.device);
        var rotary = RotaryEmbedding.FromAngles(angles.cos().unsqueeze(0), angles.sin().unsqueeze(0));
        var windows = new PaddedSequences(layout.WindowOffsets, x.device);
        var windowRotary = (windows.Pad(rotary.Cos.squeeze(0)), windows.Pad(rotary.Sin.squeeze(0)));
        var mask = windows.Mask();
        for (var i = 0; i < _plain.Length; i++)
        {
            using var block = NewDisposeScope();
            var next = Config.FullAttentionBlocks.Contains(i)
                ? _plain[i].Forward(x.unsqueeze(0), rotary, mask: null).squeeze(0)
                : windows.Unpad(_plain[i].Forward(windows.Pad(x), windowRotary, mask));
            next.MoveToOuterDisposeScope();
            if (i > 0)
                x.Dispose();
            x = next;
            observe?.Invoke($"block.{i}", x);
        }

        return x.MoveToOuterDisposeScope();
    }

    private T Own<T>(T part)
        where T : IDisposable
    {
        _owned.Add(part);
        return part;
    }
}
