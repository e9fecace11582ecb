using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Models.Mllm;

/// <summary>The base of the rotary frequencies and how a checkpoint stretches them.</summary>
/// <param name="Theta">rope_theta.</param>
/// <param name="Kind">default; linear (every frequency divided by <paramref name="Factor"/>); llama3 (only low frequencies are). The multimodal
/// kind mrope is the default one with <see cref="Sections"/>.</param>
public sealed record RotaryConfig(double Theta, RotaryKind Kind = RotaryKind.Default, double Factor = 1)
{
    /// <summary>Divisors of the single frequencies, as a GGUF file's rope_freqs.weight holds them: [headSize / 2], or none.</summary>
    public IReadOnlyList<float>? FrequencyDivisors { get; init; }

    /// <summary>How many frequencies, in a row, follow each of the axes time, height and width (mrope_section); null: there is one axis. On text the
    /// axes agree.</summary>
    public IReadOnlyList<int>? Sections { get; init; }

    public double LowFrequencyFactor { get; init; } = 1;

    public double HighFrequencyFactor { get; init; } = 4;

    public double OriginalMaxPositions { get; init; } = 8192;

    private const string SectionsKey = "mrope_section";

    /// <exception cref="CheckpointException">rope_scaling names a kind that is not supported, or lacks one of its numbers.</exception>
    public static RotaryConfig FromTransformers(ConfigFile config)
    {
        ArgumentNullException.ThrowIfNull(config);
        const string ThetaKey = "rope_theta";
        // transformers 5 states all of it in one place
        var parameters = config.OptionalSection("rope_parameters");
        var plain = new RotaryConfig((parameters?.Has(ThetaKey) == true ? parameters : config).Double(ThetaKey, 10000));
        if ((parameters ?? config.OptionalSection("rope_scaling")) is not { } scaling)
            return plain;
        return scaling.String("rope_type", scaling.String("type", "default")) switch
        {
            "default" or "mrope" => plain with { Sections = scaling.Has(SectionsKey) ? [.. scaling.Int64s(SectionsKey).Select(count => checked((int)count))] : null },
            "linear" => plain with { Kind = RotaryKind.Linear, Factor = scaling.Double("factor") },
            "llama3" => plain with
            {
                Kind = RotaryKind.Llama3,
                Factor = scaling.Double("factor"),
                LowFrequencyFactor = scaling.Double("low_freq_factor"),
                HighFrequencyFactor = scaling.Double("high_freq_factor"),
                OriginalMaxPositions = scaling.Double("original_max_position_embeddings"),
            },
            var other => throw scaling.Error("rope_type", $"is \"{other}\", which is not supported; default, mrope, linear and llama3 are"),
        };
    }

    /// <summary>[headSize / 2] angles per position, float32 arithmetic as in transformers' modeling_rope_utils.</summary>
    public float[] InverseFrequencies(int headSize)
    {
        var frequencies = new float[headSize / 2];
        if (FrequencyDivisors is { } given && given.Count != frequencies.Length)
            throw new CheckpointException($"{given.Count} divisors of rotary frequencies, a head of size {headSize} needs {frequencies.Length}");
        for (var i = 0; i < frequencies.Length; i++)
        {
            var frequency = 1f / MathF.Pow((float)Theta, 2f * i / headSize);
            frequencies[i] = Kind switch
            {
                RotaryKind.Linear => frequency / (float)Factor,
                RotaryKind.Llama3 => Llama3(frequency),
                _ => frequency,
            } / (FrequencyDivisors?[i] ?? 1);
        }

        return frequencies;
    }

    /// <summary>For each frequency the axis of positions that turns it: [headSize / 2].</summary>
    internal long[] Axes() => [.. Sections!.SelectMany((count, axis) => Enumerable.Repeat((long)axis, count))];

    private float Llama3(float frequency)
    {
        var wavelength = 2 * MathF.PI / frequency;
        if (wavelength < OriginalMaxPositions / HighFrequencyFactor)
            return frequency;
        if (wavelength > OriginalMaxPositions / LowFrequencyFactor)
            return frequency / (float)Factor;
        var smooth = (float)(((OriginalMaxPositions / wavelength) - LowFrequencyFactor) / (HighFrequencyFactor - LowFrequencyFactor));
        return ((1 - smooth) * frequency / (float)Factor) + (smooth * frequency);
    }
}

public enum RotaryKind
{
    Default,
    Linear,
    Llama3,
}
