namespace MetaQuery.Models.Diffusion;

/// <summary>Latents to rows of patches for a matrix product, and back; copies of a few thousand values per picture.</summary>
internal static unsafe class FusedSanaPatches
{
    /// <summary>[latentRows, C, height, width] to [rows, patches, C · p · p]; row r reads latents r modulo <paramref name="latentRows"/>.</summary>
    public static void Gather(
        ReadOnlySpan<float> latents, int latentRows, int first, int rows, SanaTransformerConfig config, int gridHeight, int gridWidth, float* target)
    {
        var (patch, channels) = (config.PatchSize, config.InChannels);
        var (height, width) = (gridHeight * patch, gridWidth * patch);
        for (var row = first; row < first + rows; row++)
        {
            var image = latents.Slice(row % latentRows * channels * height * width, channels * height * width);
            for (var y = 0; y < gridHeight; y++)
            {
                for (var x = 0; x < gridWidth; x++)
                {
                    for (var c = 0; c < channels; c++)
                    {
                        for (var dy = 0; dy < patch; dy++)
                        {
                            image.Slice((((c * height) + (y * patch) + dy) * width) + (x * patch), patch).CopyTo(new Span<float>(target, patch));
                            target += patch;
                        }
                    }
                }
            }
        }
    }

    /// <summary>[rows, gh, gw, p, p, C] to [rows, C, gh · p, gw · p].</summary>
    public static void Scatter(float* source, Span<float> velocity, int rows, SanaTransformerConfig config, int gridHeight, int gridWidth)
    {
        var (patch, channels) = (config.PatchSize, config.OutChannels);
        var (height, width) = (gridHeight * patch, gridWidth * patch);
        for (var row = 0; row < rows; row++)
        {
            for (var y = 0; y < height; y++)
            {
                for (var x = 0; x < width; x++)
                {
                    var token = (((row * gridHeight) + (y / patch)) * gridWidth) + (x / patch);
                    var from = source + ((((((long)token * patch) + (y % patch)) * patch) + (x % patch)) * channels);
                    for (var c = 0; c < channels; c++)
                    {
                        velocity[(((((row * channels) + c) * height) + y) * width) + x] = from[c];
                    }
                }
            }
        }
    }
}
