using MetaQuery.Models.Layers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>
/// AdaLN-single (PixArt-α, arXiv 2310.00426): one embedding per row and, from it, one shift, scale and gate for each half of
/// every block. With guidance embeddings (Sana Sprint) a second table is added before the projection.
/// </summary>
internal sealed class TimestepEmbedding
{
    private readonly Linear timestep1;
    private readonly Linear timestep2;
    private readonly Linear? guidance1;
    private readonly Linear? guidance2;
    private readonly Linear modulation;

    public TimestepEmbedding(ParameterScope scope, SanaTransformerConfig config)
    {
        // With guidance embeddings the checkpoint has no "emb" level.
        var embedders = config.GuidanceEmbeds ? scope : scope.Child("emb");
        var width = config.Width;
        (timestep1, timestep2) = Pair(embedders.Child("timestep_embedder"), width);
        if (config.GuidanceEmbeds)
        {
            (guidance1, guidance2) = Pair(embedders.Child("guidance_embedder"), width);
        }

        modulation = new Linear(scope.Child("linear"), width, 6 * width);
    }

    /// <returns>Modulation [B, 6 · width] and embedding [B, width], float32.</returns>
    public (Tensor Modulation, Tensor Embedding) Forward(ReadOnlySpan<float> timesteps, ReadOnlySpan<float> guidance, Device device)
    {
        using var scope = NewDisposeScope();
        var embedding = Embed(timesteps, timestep1, timestep2, device);
        if (guidance1 is not null)
        {
            embedding = embedding + Embed(guidance, guidance1, guidance2!, device);
        }

        var six = modulation.Forward(nn.functional.silu(embedding));
        return (six.to(ScalarType.Float32).MoveToOuterDisposeScope(), embedding.to(ScalarType.Float32).MoveToOuterDisposeScope());
    }

    private static Tensor Embed(ReadOnlySpan<float> values, Linear first, Linear second, Device device)
    {
        var table = tensor(SineEmbedding.OfTimesteps(values), [values.Length, SineEmbedding.TimestepChannels]).to(device);
        return second.Forward(nn.functional.silu(first.Forward(table)));
    }

    private static (Linear First, Linear Second) Pair(ParameterScope scope, long width) =>
        (new Linear(scope.Child("linear_1"), SineEmbedding.TimestepChannels, width), new Linear(scope.Child("linear_2"), width, width));
}
