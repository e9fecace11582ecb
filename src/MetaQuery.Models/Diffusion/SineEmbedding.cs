using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>Sine-cosine tables: of timesteps (fed to an MLP) and of patch positions.</summary>
internal static class SineEmbedding
{
    /// <summary>Width of a timestep's table; Timesteps(256) in diffusers' embeddings.</summary>
    public const int TimestepChannels = 256;

    private const float MaxPeriod = 10000;

    /// <summary>[B, channels], float32: cosines, then sines (or the other way round) of timestep · 10000^(−i / (channels / 2 − shift)).</summary>
    /// <param name="timesteps">B of them.</param>
    /// <param name="channels">Even, or the last one is 0.</param>
    /// <param name="cosinesFirst">config.json's flip_sin_to_cos.</param>
    /// <param name="frequencyShift">config.json's freq_shift.</param>
    public static float[] OfTimesteps(ReadOnlySpan<float> timesteps, int channels = TimestepChannels, bool cosinesFirst = true, double frequencyShift = 0)
    {
        var half = channels / 2;
        var (cosines, sines) = cosinesFirst ? (0, half) : (half, 0);
        var table = new float[timesteps.Length * channels];
        for (var i = 0; i < half; i++)
        {
            // Rounded to float32 where the reference is: at timestep 999 one unit in the last place here moves the angle by 6e-5.
            var exponent = (float)-Math.Log(MaxPeriod) * i / (float)(half - frequencyShift);
            var frequency = (float)Math.Exp(exponent);
            for (var row = 0; row < timesteps.Length; row++)
            {
                var angle = timesteps[row] * frequency;
                table[(row * channels) + cosines + i] = (float)Math.Cos(angle);
                table[(row * channels) + sines + i] = (float)Math.Sin(angle);
            }
        }

        return table;
    }

    /// <summary>
    /// [gridHeight · gridWidth, width], float32: the first half of the channels holds the column's position, the second the
    /// row's, each as sines then cosines. Positions are scaled so that any grid spans what the training grid did.
    /// </summary>
    /// <param name="width">Channels; a multiple of 4.</param>
    /// <param name="gridHeight">Patches down.</param>
    /// <param name="gridWidth">Patches across.</param>
    /// <param name="baseSize">Patches along a side in training.</param>
    /// <param name="interpolationScale">config.json's interpolation_scale.</param>
    public static float[] OfPatches(int width, int gridHeight, int gridWidth, int baseSize, double interpolationScale)
    {
        var table = new float[gridHeight * gridWidth * width];
        var quarter = width / 4;
        for (var i = 0; i < quarter; i++)
        {
            var frequency = 1 / Math.Pow(MaxPeriod, (double)i / quarter);
            for (var row = 0; row < gridHeight; row++)
            {
                var vertical = (float)(row / (float)((double)gridHeight / baseSize)) / (float)interpolationScale * frequency;
                for (var column = 0; column < gridWidth; column++)
                {
                    var horizontal = (float)(column / (float)((double)gridWidth / baseSize)) / (float)interpolationScale * frequency;
                    var at = ((row * gridWidth) + column) * width;
                    table[at + i] = (float)Math.Sin(horizontal);
                    table[at + quarter + i] = (float)Math.Cos(horizontal);
                    table[at + (2 * quarter) + i] = (float)Math.Sin(vertical);
                    table[at + (3 * quarter) + i] = (float)Math.Cos(vertical);
                }
            }
        }

        return table;
    }
}
