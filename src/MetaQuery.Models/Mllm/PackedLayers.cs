using System.Runtime.ExceptionServices;
using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>The layers of <see cref="TransformerLayer"/> for inference on the CPU: packed weights, fused kernels, sequences of different lengths
/// one behind the other without padding. A sequence's result depends on itself and the cache alone, bit for bit.</summary>
/// <remarks>Safe to call from several threads at once, except where a cache is appended to.</remarks>
internal sealed unsafe class PackedLayers : IDisposable
{
    private readonly TransformerLayerConfig _config;
    private readonly RotaryTable _rotary;
    private readonly KernelType _type;
    private readonly PackedLayer[] _layers;

    /// <param name="sources">Every layer's own tensors.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public PackedLayers(TransformerLayerConfig config, RotaryConfig rotary, IReadOnlyList<WeightSource> sources, ScalarType dtype)
    {
        (_config, _rotary, _type) = (config, new RotaryTable(rotary, config.HeadSize), TypeOf(dtype));
        _layers = LoadAll(config, sources, _type);
    }

    /// <summary>Loads layers on all cores.</summary>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public static PackedLayer[] LoadAll(TransformerLayerConfig config, IReadOnlyList<WeightSource> sources, KernelType type) =>
        LoadAll(sources, source => new PackedLayer(config, source, type));

    /// <inheritdoc cref="LoadAll(TransformerLayerConfig, IReadOnlyList{WeightSource}, KernelType)"/>
    public static TLayer[] LoadAll<TLayer>(IReadOnlyList<WeightSource> sources, Func<WeightSource, TLayer> load)
        where TLayer : class, IDisposable
    {
        var layers = new TLayer?[sources.Count];
        var failures = new Exception?[sources.Count];
        Parallel.For(0, sources.Count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount }, i =>
        {
            try
            {
                layers[i] = load(sources[i]);
            }
            catch (Exception failure)
            {
                failures[i] = failure;
            }
        });
        // The first that fails in the layers' order is the error, however the threads ran.
        if (failures.FirstOrDefault(failure => failure is not null) is { } first)
        {
            foreach (var layer in layers)
                layer?.Dispose();
            ExceptionDispatchInfo.Throw(first);
        }

        return layers!;
    }

    public static KernelType TypeOf(ScalarType dtype) => dtype switch
    {
        ScalarType.Float32 => KernelType.Float32,
        ScalarType.BFloat16 => KernelType.BFloat16,
        _ => throw new ArgumentException($"packed weights are float32 or bfloat16, not {dtype}", nameof(dtype)),
    };

    public PackedCache NewCache() => new(_layers.Length, _config.KeyValueHeads, _config.HeadSize);

    /// <param name="x">[tokens, C], float32, contiguous: the residual stream, changed in place.</param>
    /// <param name="offsets">Sequence i is the tokens offsets[i] to offsets[i + 1].</param>
    /// <param name="cache">Tokens that every sequence sees before its own; null: none.</param>
    /// <param name="append">Adds the tokens of the one sequence to the cache.</param>
    /// <param name="observe">Is shown "layer.i".</param>
    /// <param name="positions">[3, tokens] or [tokens], int64, by which tokens are rotated; null: each sequence counts on from the cached tokens.</param>
    public void Forward(
        Tensor x, long[] offsets, bool causal, PackedCache? cache = null, bool append = false, Action<string, Tensor>? observe = null, Tensor? positions = null)
    {
        if (positions is not null && positions.shape[^1] != x.shape[0])
            throw new ArgumentException($"{positions.shape[^1]} positions for {x.shape[0]} tokens", nameof(positions));
        var tokens = x.shape[0];
        if (offsets[0] != 0 || offsets[^1] != tokens)
            throw new ArgumentException($"the sequences end at {offsets[^1]}, there are {tokens} tokens", nameof(offsets));
        if (append && (cache is null || offsets.Length != 2))
            throw new ArgumentException($"{offsets.Length - 1} sequences cannot be appended to one cache", nameof(append));
        var longest = offsets.Zip(offsets.Skip(1), (first, next) => next - first).Max();
        if (append)
            cache!.Reserve(tokens);
        var angles = positions is null ? _rotary.Covering((cache?.Length ?? 0) + longest) : _rotary.Of(positions);
        using var work = new PackedWorkspace(_config, _type, tokens);
        var threads = get_num_threads();
        fixed (byte* stream = x.bytes)
        fixed (long* first = offsets)
        {
            var sequences = new SequenceTokens { Offsets = first, Sequences = offsets.Length - 1, Causal = causal };
            var rotary = new RotaryAngles { Cosines = angles.Cosines.Floats, Sines = angles.Sines.Floats, PerToken = positions is not null };
            for (var i = 0; i < _layers.Length; i++)
            {
                _layers[i].Forward((float*)stream, tokens, sequences, rotary, cache?.At(i, append) ?? default, work, threads);
                observe?.Invoke($"layer.{i}", x);
            }
        }

        GC.KeepAlive(angles);
        if (append)
            cache!.Advance(tokens);
    }

    public void Dispose()
    {
        foreach (var layer in _layers)
            layer.Dispose();
    }
}
