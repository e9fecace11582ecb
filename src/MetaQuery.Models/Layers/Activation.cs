using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>Activation functions by the names that config files give them.</summary>
internal static class Activation
{
    /// <summary>Reads a function's name.</summary>
    /// <exception cref="Checkpoints.CheckpointException">It is not one of silu (swish), gelu, relu and mish.</exception>
    public static Func<Tensor, Tensor> Read(ConfigReader reader, string key, string otherwise) =>
        Named(reader.OneOf(key, otherwise, "silu", "swish", "gelu", "relu", "mish"));

    /// <summary>As <see cref="Read"/>; null where the file names none.</summary>
    public static Func<Tensor, Tensor>? ReadOptional(ConfigReader reader, string key) => reader.Text(key, null) is null ? null : Read(reader, key, "");

    private static Func<Tensor, Tensor> Named(string name) => name switch
    {
        "gelu" => x => nn.functional.gelu(x),
        "relu" => x => nn.functional.relu(x),
        "mish" => Mish,
        _ => x => nn.functional.silu(x),
    };

    // x tanh(ln(1 + e^x))
    private static Tensor Mish(Tensor x)
    {
        using var scope = NewDisposeScope();
        return (x * nn.functional.softplus(x).tanh()).MoveToOuterDisposeScope();
    }
}
