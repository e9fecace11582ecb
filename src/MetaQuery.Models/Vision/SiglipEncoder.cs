using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>The layers of SigLIP: every token of a sequence sees every other, nothing is masked (transformers 4.49, modeling_siglip.py).</summary>
internal sealed class SiglipEncoder : IDisposable
{
    private readonly SiglipLayer[] _layers;

    /// <param name="weights">Tensors named layers.i... .</param>
    /// <param name="layers">How many of the layers are needed; null: all.</param>
    public SiglipEncoder(SiglipEncoderConfig config, WeightSource weights, VisionLinear.Settings settings, int? layers = null)
    {
        var sources = Enumerable.Range(0, layers ?? config.NumHiddenLayers).Select(i => weights.WithPrefix($"layers.{i}.")).ToList();
        _layers = PackedLayers.LoadAll(sources, source => new SiglipLayer(config, source, settings));
    }

    /// <param name="x">[sequences, T, C], float32; not to be used afterwards.</param>
    /// <param name="observe">Is shown "layer.i" [sequences, T, C].</param>
    /// <returns>[sequences, T, C], float32, without the norm that follows in some models.</returns>
    public Tensor Forward(Tensor x, Action<string, Tensor>? observe = null)
    {
        using var scope = NewDisposeScope();
        var (sequences, tokens, channels) = (x.shape[0], x.shape[1], x.shape[2]);
        x = x.reshape(sequences * tokens, channels);
        for (var i = 0; i < _layers.Length; i++)
        {
            var next = _layers[i].Forward(x, sequences);
            if (i > 0 && !ReferenceEquals(next, x))
                x.Dispose();
            x = next;
            observe?.Invoke($"layer.{i}", x.view(sequences, tokens, channels));
        }

        return x.view(sequences, tokens, channels).MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
        foreach (var layer in _layers)
            layer.Dispose();
    }
}
