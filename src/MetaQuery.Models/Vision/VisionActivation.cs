using MetaQuery.Kernels;
using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>The activations that vision parts' configurations name (transformers' ACT2FN).</summary>
public enum VisionActivation
{
    /// <summary>gelu: the exact form, with erf.</summary>
    Gelu,

    /// <summary>gelu_pytorch_tanh, gelu_new.</summary>
    GeluTanh,

    /// <summary>quick_gelu: x · sigmoid(1.702 x).</summary>
    QuickGelu,

    Silu,

    Relu,
}

/// <summary>Reads and applies <see cref="VisionActivation"/>.</summary>
internal static class VisionActivations
{
    /// <exception cref="CheckpointException">The name is another.</exception>
    public static VisionActivation Read(ConfigFile config, string key, string absent) => config.String(key, absent) switch
    {
        "gelu" => VisionActivation.Gelu,
        "gelu_pytorch_tanh" or "gelu_new" => VisionActivation.GeluTanh,
        "quick_gelu" => VisionActivation.QuickGelu,
        "silu" or "swish" => VisionActivation.Silu,
        "relu" => VisionActivation.Relu,
        var other => throw config.Error(key, $"is \"{other}\"; gelu, gelu_pytorch_tanh, gelu_new, quick_gelu, silu and relu are supported"),
    };

    /// <param name="x">float32: libtorch computes in the dtype that it is given.</param>
    public static Tensor Apply(this VisionActivation activation, Tensor x) => activation switch
    {
        VisionActivation.Gelu => nn.functional.gelu(x),
        VisionActivation.GeluTanh => GeluTanh(x),
        VisionActivation.QuickGelu => QuickGelu(x),
        VisionActivation.Silu => nn.functional.silu(x),
        _ => nn.functional.relu(x),
    };

    /// <summary>What the matrix kernel applies by itself; the others follow it.</summary>
    public static KernelActivation? Fused(this VisionActivation activation) => activation switch
    {
        VisionActivation.GeluTanh => KernelActivation.TanhGelu,
        VisionActivation.Silu => KernelActivation.Silu,
        VisionActivation.Relu => KernelActivation.Relu,
        _ => null,
    };

    private static Tensor GeluTanh(Tensor x)
    {
        using var scope = NewDisposeScope();
        var inner = (x + (x * x * x * 0.044715)) * Math.Sqrt(2 / Math.PI);
        return (x * 0.5 * (inner.tanh() + 1)).MoveToOuterDisposeScope();
    }

    private static Tensor QuickGelu(Tensor x)
    {
        using var scope = NewDisposeScope();
        return (x * (x * 1.702).sigmoid()).MoveToOuterDisposeScope();
    }
}
