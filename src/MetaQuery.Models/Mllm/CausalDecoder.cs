using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>A Llama or Qwen2 decoder: token table, layers, last norm, output head.</summary>
/// <remarks>Follows transformers 4.49 (modeling_llama.py, modeling_qwen2.py). Safe to call from several threads at once: the weights are only read.</remarks>
public sealed class CausalDecoder : IDisposable
{
    private const string TableKey = "model.embed_tokens.weight";
    private const string NormKey = "model.norm.weight";
    private const string HeadKey = "lm_head.weight";

    private readonly RotaryEmbedding _rotary;
    private readonly TransformerLayer[] _layers;
    private readonly PackedLayers? _packed;
    private readonly RmsNorm _norm;
    private readonly Tensor? _head;
    private PackedWeights? _packedHead;
    private object? _packedHeadGate;
    private bool _isView;

    private CausalDecoder(
        DecoderConfig config, ScalarType dtype, Tensor table, TransformerLayer[] layers, PackedLayers? packed, RmsNorm norm, Tensor? head, RotaryEmbedding rotary) =>
        (Config, Dtype, TokenTable, _layers, _packed, _norm, _head, _rotary) = (config, dtype, table, layers, packed, norm, head, rotary);

    public DecoderConfig Config { get; }

    /// <summary>What the matrix products run in.</summary>
    public ScalarType Dtype { get; }

    /// <summary>[vocabulary, C], <see cref="Dtype"/>, or bfloat16 as stored where the layers are packed.</summary>
    public Tensor TokenTable { get; }

    public Device Device => TokenTable.device;

    /// <summary>Whether <see cref="Logits"/> can be had.</summary>
    public bool HasHead => _head is not null || Config.TieWordEmbeddings;

    /// <summary>Whether the layers are packed for the CPU's fused kernels: then <see cref="ForwardSequences"/> computes, without gradients,
    /// and <see cref="Forward"/> does not.</summary>
    public bool IsPacked => _packed is not null;

    /// <summary>Loads the weights under Hugging Face's names (a GGUF file through its name map).</summary>
    /// <param name="weights">Read during the call only.</param>
    /// <param name="dtype">float32 or bfloat16.</param>
    /// <param name="withHead">Whether <see cref="Logits"/> will be called: a checkpoint of MetaQuery has no output head.</param>
    /// <param name="packed">For inference on the CPU (<see cref="IsPacked"/>).</param>
    /// <param name="tableRows">Rows of the stored token table, where it is not the vocabulary's: the first rows are taken.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape than the configuration says.</exception>
    public static CausalDecoder Load(
        DecoderConfig config, WeightSource weights, ScalarType dtype = ScalarType.Float32, Device? device = null, bool packed = false, bool withHead = true,
        int? tableRows = null)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(weights);
        using var scope = NewDisposeScope();
        // bfloat16 rows stay in the file's mapping: they are widened as they are read
        var table = weights.Load(TableKey, [tableRows ?? config.VocabularySize, config.HiddenSize], Kept(TableKey)).narrow(0, 0, config.VocabularySize);
        var layer = new TransformerLayerConfig(
            config.HiddenSize, config.IntermediateSize, config.NumAttentionHeads, config.NumKeyValueHeads, config.HeadSize, config.RmsNormEpsilon,
            config.QueryKeyValueBias, config.OutputBias, config.MlpBias, HeadNorm: false);
        var owned = new List<IDisposable>();
        try
        {
            var sources = Enumerable.Range(0, config.NumHiddenLayers).Select(i => weights.WithPrefix($"model.layers.{i}.")).ToList();
            var fused = packed ? new PackedLayers(layer, config.Rotary, sources, dtype) : null;
            if (fused is not null)
                owned.Add(fused);
            var layers = new TransformerLayer[packed ? 0 : config.NumHiddenLayers];
            for (var i = 0; i < layers.Length; i++)
                owned.Add(layers[i] = new TransformerLayer(layer, sources[i], dtype, device));
            var norm = RmsNorm.Load(weights, NormKey, config.HiddenSize, config.RmsNormEpsilon, device);
            owned.Add(norm);
            var head = withHead && !config.TieWordEmbeddings ? weights.Load(HeadKey, [config.VocabularySize, config.HiddenSize], Kept(HeadKey)) : null;
            return new CausalDecoder(config, dtype, OnDevice(table), layers, fused, norm, head is null ? null : OnDevice(head),
                new RotaryEmbedding(config.Rotary, config.HeadSize, device));
        }
        catch
        {
            owned.ForEach(part => part.Dispose());
            throw;
        }

        ScalarType Kept(string key) => packed && weights.Contains(key) && weights.Describe(key).Dtype == ScalarType.BFloat16 ? ScalarType.BFloat16 : dtype;

        Tensor OnDevice(Tensor tensor) => (device is null ? tensor : tensor.to(device)).DetachFromDisposeScope();
    }

    /// <summary>The same layers behind another token table.</summary>
    /// <param name="table">[vocabulary, C], of <see cref="TokenTable"/>'s dtype; owned from here on.</param>
    /// <returns>To be disposed before this, whose layers it uses.</returns>
    public CausalDecoder WithTokenTable(Tensor table) => new(Config, Dtype, table, _layers, _packed, _norm, _head, _rotary) { _isView = true };

    /// <param name="inputIds">[B, L], int64, each below the vocabulary's size.</param>
    /// <returns>[B, L, C], float32.</returns>
    public Tensor Embed(Tensor inputIds)
    {
        using var scope = NewDisposeScope();
        return TokenTable.index_select(0, inputIds.reshape(-1)).view(inputIds.shape[0], inputIds.shape[1], Config.HiddenSize)
            .to(ScalarType.Float32).MoveToOuterDisposeScope();
    }

    /// <param name="embeddings">[B, L, C], float32.</param>
    /// <param name="positions">[B or 1, L], int64; [3, B, L] where pictures have places on three axes (<see cref="PositionAxes"/>).</param>
    /// <param name="mask">Added to the scores: [B or 1, 1, L, T], float32 (<see cref="Attention.CausalMask"/>).</param>
    /// <param name="cache">Holds the T - L tokens before these, and receives these; null where nothing is to be kept (training).</param>
    /// <param name="observe">Is shown "layer.i" and "final_norm" as they arise.</param>
    /// <returns>[B, L, C], float32: the hidden states after the last norm.</returns>
    /// <exception cref="InvalidOperationException">The layers are packed.</exception>
    public Tensor Forward(Tensor embeddings, Tensor positions, Tensor mask, KeyValueCache? cache = null, Action<string, Tensor>? observe = null)
    {
        if (IsPacked)
            throw new InvalidOperationException("the decoder was loaded with packed layers, which compute by ForwardSequences");
        using var scope = NewDisposeScope();
        var rotary = _rotary.At(positions);
        var x = embeddings;
        for (var i = 0; i < _layers.Length; i++)
        {
            var next = _layers[i].Forward(x, rotary, mask, cache?[i]);
            if (i > 0)
                x.Dispose();
            x = next;
            observe?.Invoke($"layer.{i}", x);
        }

        var normed = _norm.Forward(x);
        observe?.Invoke("final_norm", normed);
        return normed.MoveToOuterDisposeScope();
    }

    /// <summary>Inference over sequences of different lengths, one behind the other; each counts its positions from the cached tokens on.</summary>
    /// <param name="embeddings">[tokens, C], float32.</param>
    /// <param name="offsets">Sequence i is the tokens offsets[i] to offsets[i + 1].</param>
    /// <param name="cache">Tokens that every sequence sees before its own; null: none.</param>
    /// <param name="append">Adds the tokens of the one sequence to the cache.</param>
    /// <param name="observe">Is shown "layer.i" and "final_norm" as they arise; what it is shown changes afterwards.</param>
    /// <param name="positions">[3, tokens] or [tokens], int64, where they are not the count from the cached tokens on.</param>
    /// <returns>[tokens, C], float32: the hidden states after the last norm. A sequence's own do not depend on the others, bit for bit.</returns>
    /// <exception cref="InvalidOperationException">The layers are not packed.</exception>
    public Tensor ForwardSequences(
        Tensor embeddings, long[] offsets, PackedCache? cache = null, bool append = false, Action<string, Tensor>? observe = null, Tensor? positions = null)
    {
        ArgumentNullException.ThrowIfNull(embeddings);
        ArgumentNullException.ThrowIfNull(offsets);
        using var scope = NewDisposeScope();
        var x = embeddings.clone();
        Packed().Forward(x, offsets, causal: true, cache, append, observe, positions);
        var normed = FusedKernels.RmsNorm(x, _norm.Weight, (float)Config.RmsNormEpsilon, ScalarType.Float32);
        observe?.Invoke("final_norm", normed);
        return normed.MoveToOuterDisposeScope();
    }

    /// <exception cref="InvalidOperationException">The layers are not packed.</exception>
    public PackedCache NewPackedCache() => Packed().NewCache();

    /// <param name="hiddenStates">[..., C], float32, after the last norm.</param>
    /// <returns>[..., vocabulary], float32.</returns>
    /// <exception cref="InvalidOperationException">The decoder was loaded without its head.</exception>
    public Tensor Logits(Tensor hiddenStates)
    {
        using var scope = NewDisposeScope();
        var head = _head ?? (Config.TieWordEmbeddings ? TokenTable : throw new InvalidOperationException("the decoder was loaded without its output head"));
        if (head.dtype != Dtype)
            return PackedLogits(hiddenStates.to(ScalarType.Float32).contiguous(), head).MoveToOuterDisposeScope();
        return nn.functional.linear(hiddenStates.to(Dtype), head).to(ScalarType.Float32).MoveToOuterDisposeScope();
    }

    // A bfloat16 head under float32 states: packed when the first answer is given, since conditions need none.
    private unsafe Tensor PackedLogits(Tensor hiddenStates, Tensor head)
    {
        var packed = LazyInitializer.EnsureInitialized(ref _packedHead, ref _packedHeadGate, () => new PackedWeights(head, null, KernelType.Float32, KernelFeatures.None));
        var rows = hiddenStates.NumberOfElements / Config.HiddenSize;
        var logits = empty([.. hiddenStates.shape[..^1], Config.VocabularySize], dtype: ScalarType.Float32);
        fixed (byte* source = hiddenStates.bytes)
        fixed (byte* target = logits.bytes)
        {
            packed.Multiply(source, rows, new MatmulTarget { Output = target, Type = KernelType.Float32 }, get_num_threads());
        }

        return logits;
    }

    public KeyValueCache NewCache() => new(_layers.Length);

    private PackedLayers Packed() => _packed ?? throw new InvalidOperationException("the decoder was loaded without packed layers");

    public void Dispose()
    {
        if (_isView)
        {
            TokenTable.Dispose();
            return;
        }

        foreach (var layer in _layers)
            layer.Dispose();
        _packed?.Dispose();
        _packedHead?.Dispose();
        TokenTable.Dispose();
        _norm.Dispose();
        _head?.Dispose();
        _rotary.Dispose();
    }
}
