using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>One or more linear layers of a checkpoint that read the same input, held as one matrix: one product instead of several.</summary>
public sealed class FusedLinear : IDisposable
{
    private readonly Part[] _parts;

    private FusedLinear(Tensor weight, Tensor? bias, Part[] parts) => (Weight, Bias, _parts) = (weight, bias, parts);

    /// <summary>[sum of the parts' rows, inputs].</summary>
    public Tensor Weight { get; }

    /// <summary>[sum of the parts' rows], or none.</summary>
    public Tensor? Bias { get; }

    /// <summary>Loads <c>name.weight</c> (and <c>name.bias</c>) of every part.</summary>
    /// <param name="dtype">What to compute in: float32 or bfloat16; null as stored, for packing.</param>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape.</exception>
    public static FusedLinear Load(WeightSource source, int inputs, bool bias, ScalarType? dtype, Device? device, params (string Name, int Rows)[] parts)
    {
        ArgumentNullException.ThrowIfNull(source);
        using var scope = NewDisposeScope();
        var weight = Join([.. parts.Select(part => source.Load($"{part.Name}.weight", [part.Rows, inputs], dtype))], device);
        var biases = bias ? Join([.. parts.Select(part => source.Load($"{part.Name}.bias", [part.Rows], dtype))], device) : null;
        var first = 0;
        var named = new Part[parts.Length];
        for (var i = 0; i < parts.Length; first += parts[i].Rows, i++)
            named[i] = new Part(parts[i].Name, first, parts[i].Rows);
        return new FusedLinear(weight.DetachFromDisposeScope(), biases?.DetachFromDisposeScope(), named);
    }

    /// <summary>A layer of tensors that were loaded otherwise; it has no names.</summary>
    internal static FusedLinear Of(Tensor weight, Tensor? bias, Device? device)
    {
        using var scope = NewDisposeScope();
        return new FusedLinear(Join([weight], device).DetachFromDisposeScope(), bias is null ? null : Join([bias], device).DetachFromDisposeScope(), []);
    }

    /// <param name="x">[..., inputs], the weight's dtype.</param>
    public Tensor Forward(Tensor x) => nn.functional.linear(x, Weight, Bias);

    /// <summary>Every tensor under its checkpoint's name, as rows of the fused one.</summary>
    public IEnumerable<NamedWeight> Named(string prefix)
    {
        foreach (var part in _parts)
        {
            yield return new NamedWeight($"{prefix}{part.Name}.weight", Weight, part.First, part.Rows);
            if (Bias is { } bias)
                yield return new NamedWeight($"{prefix}{part.Name}.bias", bias, part.First, part.Rows);
        }
    }

    public void Dispose()
    {
        Weight.Dispose();
        Bias?.Dispose();
    }

    private static Tensor Join(Tensor[] parts, Device? device)
    {
        var joined = parts.Length == 1 ? parts[0] : cat(parts, 0);
        return device is null ? joined : joined.to(device);
    }

    private readonly record struct Part(string Name, int First, int Rows);
}

/// <summary>A checkpoint's tensor as rows of a tensor that a module holds.</summary>
/// <param name="Key">The checkpoint's key.</param>
/// <param name="Holder">What the module computes with, and what collects the gradient; the module owns it.</param>
/// <param name="FirstRow">Where the tensor begins in the holder's first dimension.</param>
/// <param name="Rows">Its size there.</param>
public readonly record struct NamedWeight(string Key, Tensor Holder, long FirstRow, long Rows)
{
    public NamedWeight(string key, Tensor holder) : this(key, holder, 0, holder.shape[0]) { }

    /// <summary>The tensor; a view, which the caller disposes.</summary>
    public Tensor Value() => Holder.narrow(0, FirstRow, Rows);

    /// <summary>Its gradient, or null where none was computed; a view, which the caller disposes.</summary>
    public Tensor? Gradient() => Holder.grad is { } gradient ? gradient.narrow(0, FirstRow, Rows) : null;
}
