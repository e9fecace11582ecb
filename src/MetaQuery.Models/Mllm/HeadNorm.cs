using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Normalises each head of the rotated queries and keys: x / max(|x|, 1e-12) · gamma · sqrt(D), gamma per head.</summary>
public sealed class HeadNorm : IDisposable
{
    private const double SmallestNorm = 1e-12; // torch.nn.functional.normalize's default
    private readonly double _rootOfSize;

    private HeadNorm(Tensor queryGamma, Tensor keyGamma, double rootOfSize) =>
        (QueryGamma, KeyGamma, _rootOfSize) = (queryGamma, keyGamma, rootOfSize);

    /// <summary>[heads, 1, D], float32.</summary>
    public Tensor QueryGamma { get; }

    /// <summary>[key-value heads, 1, D], float32.</summary>
    public Tensor KeyGamma { get; }

    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public static HeadNorm Load(WeightSource source, string queryKey, string keyKey, int heads, int keyValueHeads, int headSize, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(source);
        using var scope = NewDisposeScope();
        var query = source.Load(queryKey, [heads, 1, headSize], ScalarType.Float32);
        var key = source.Load(keyKey, [keyValueHeads, 1, headSize], ScalarType.Float32);
        if (device is not null)
            (query, key) = (query.to(device), key.to(device));
        return new HeadNorm(query.DetachFromDisposeScope(), key.DetachFromDisposeScope(), Math.Sqrt(headSize));
    }

    /// <param name="x">[B, L, heads + key-value heads, D], float32: queries, then keys.</param>
    public Tensor Forward(Tensor x)
    {
        using var scope = NewDisposeScope();
        var gamma = cat([QueryGamma, KeyGamma], 0).squeeze(1) * _rootOfSize;
        var norm = x.norm(-1, keepdim: true).clamp_min(SmallestNorm);
        return (x / norm * gamma).MoveToOuterDisposeScope();
    }

    public void Dispose()
    {
        QueryGamma.Dispose();
        KeyGamma.Dispose();
    }
}
