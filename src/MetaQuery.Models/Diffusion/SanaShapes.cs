namespace MetaQuery.Models.Diffusion;

/// <summary>The checks that both implementations of the transformer share.</summary>
internal static class SanaShapes
{
    /// <exception cref="ArgumentException">With both numbers in its message.</exception>
    public static void Check(SanaTransformerConfig config, ReadOnlySpan<long> latents, int timesteps, int guidance)
    {
        if (latents.Length != 4 || latents[1] != config.InChannels)
        {
            throw new ArgumentException($"latents have the shape [{string.Join(", ", latents.ToArray())}], expected [B, {config.InChannels}, height, width]", nameof(latents));
        }

        if (latents[2] < 1 || latents[3] < 1 || latents[2] % config.PatchSize != 0 || latents[3] % config.PatchSize != 0)
        {
            throw new ArgumentException($"latents of {latents[2]} x {latents[3]} are not divisible into patches of {config.PatchSize} x {config.PatchSize}", nameof(latents));
        }

        if (timesteps != latents[0])
        {
            throw new ArgumentException($"{timesteps} timesteps were given for {latents[0]} rows", nameof(timesteps));
        }

        var wanted = config.GuidanceEmbeds ? latents[0] : 0;
        if (guidance != wanted)
        {
            throw new ArgumentException($"{guidance} guidance scales were given as embeddings, the model takes {wanted}", nameof(guidance));
        }
    }
}
