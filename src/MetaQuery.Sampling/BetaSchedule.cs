using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>
/// The training noise of variance-preserving models (DDPM, arXiv 2006.11239): x_t = √ᾱ_t x₀ + √(1 − ᾱ_t) ε. Betas and their running
/// product are rounded to float32 where diffusers 0.33 rounds them. Flow schedules carry it along unused.
/// </summary>
public sealed class BetaSchedule
{
    private readonly float[] betas;
    private readonly float[] alphasCumulativeProduct;

    private BetaSchedule(float[] betas) => (this.betas, alphasCumulativeProduct) = (betas, Product(betas));

    /// <summary>β, [T].</summary>
    public IReadOnlyList<float> Betas => betas;

    /// <summary>ᾱ: the running product of 1 − β, [T], falling.</summary>
    public IReadOnlyList<float> AlphasCumulativeProduct => alphasCumulativeProduct;

    /// <param name="config">A value of scheduler_config.json by its key, null where there is none: num_train_timesteps, beta_schedule,
    /// beta_start, beta_end, trained_betas, rescale_betas_zero_snr.</param>
    /// <exception cref="SchedulerException">A value is not supported or makes no sense.</exception>
    public static BetaSchedule FromConfig(Func<string, JsonElement?> config)
    {
        var values = new SchedulerConfig(config);
        var count = values.TrainTimesteps();
        var (start, end) = (values.Number("beta_start", 0.0001), values.Number("beta_end", 0.02));
        var table = values.Numbers("trained_betas") is { } trained
            ? Array.ConvertAll(trained, beta => (float)beta)
            : values.Text("beta_schedule", "linear") switch
            {
                "linear" => Linspace(start, end, count),
                "scaled_linear" => Array.ConvertAll(Linspace(Math.Sqrt(start), Math.Sqrt(end), count), root => root * root),
                "squaredcos_cap_v2" => Cosine(count),
                "sigmoid" => Array.ConvertAll(Linspace(-6, 6, count), x => (float)((1 / (1 + Math.Exp(-x)) * (end - start)) + start)),
                var name => throw new SchedulerException(
                    $"scheduler_config.json: beta_schedule is '{name}', expected linear, scaled_linear, squaredcos_cap_v2 or sigmoid"),
            };
        if (table.Length != count)
        {
            throw new SchedulerException($"scheduler_config.json: trained_betas has {table.Length} values, expected num_train_timesteps = {count}");
        }

        if (Array.Exists(table, beta => !(beta >= 0 && beta < 1)))
        {
            throw new SchedulerException($"scheduler_config.json: beta_start is {start} and beta_end {end}; every beta must lie in [0, 1)");
        }

        return new BetaSchedule(values.Flag("rescale_betas_zero_snr", false) ? WithoutFinalSignal(table) : table);
    }

    /// <summary>Noisy latents of a training batch: √ᾱ x₀ + √(1 − ᾱ) ε.</summary>
    /// <param name="latents">x₀, [B, C, height, width], float32, scaled.</param>
    /// <param name="noise">ε, shaped as <paramref name="latents"/>.</param>
    /// <param name="timesteps">B of them, in [0, T).</param>
    /// <returns>Shaped as <paramref name="latents"/>; the caller owns it.</returns>
    /// <exception cref="ArgumentOutOfRangeException">A timestep lies outside.</exception>
    public Tensor AddNoise(Tensor latents, Tensor noise, ReadOnlySpan<long> timesteps)
    {
        using var scope = NewDisposeScope();
        var (signal, added) = Factors(timesteps);
        return ((signal * latents) + (added * noise)).MoveToOuterDisposeScope();
    }

    /// <summary>The target of v-prediction: √ᾱ ε − √(1 − ᾱ) x₀.</summary>
    /// <inheritdoc cref="AddNoise"/>
    public Tensor VelocityTarget(Tensor latents, Tensor noise, ReadOnlySpan<long> timesteps)
    {
        using var scope = NewDisposeScope();
        var (signal, added) = Factors(timesteps);
        return ((signal * noise) - (added * latents)).MoveToOuterDisposeScope();
    }

    /// <summary>√((1 − ᾱ) / ᾱ), [T], in float32 as the reference has it.</summary>
    /// <param name="alphas">ᾱ.</param>
    internal static float[] Sigmas(IReadOnlyList<float> alphas) => [.. alphas.Select(alpha => MathF.Sqrt((1 - alpha) / alpha))];

    /// <summary>ᾱ at a timestep; <paramref name="final"/> below 0.</summary>
    internal double At(int timestep, double final) => timestep < 0 ? final : alphasCumulativeProduct[timestep];

    private (Tensor Signal, Tensor Noise) Factors(ReadOnlySpan<long> timesteps)
    {
        var (signal, noise) = (new float[timesteps.Length], new float[timesteps.Length]);
        for (var i = 0; i < timesteps.Length; i++)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(timesteps[i], nameof(timesteps));
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(timesteps[i], betas.Length, nameof(timesteps));
            var alpha = alphasCumulativeProduct[timesteps[i]];
            (signal[i], noise[i]) = (MathF.Sqrt(alpha), MathF.Sqrt(1 - alpha));
        }

        return (tensor(signal, [signal.Length, 1, 1, 1]), tensor(noise, [noise.Length, 1, 1, 1]));
    }

    // torch.linspace in float32: from both ends, so that the last value is exact
    private static float[] Linspace(double start, double end, int count)
    {
        var (first, last) = ((float)start, (float)end);
        var step = count > 1 ? (last - first) / (count - 1) : 0;
        var values = new float[count];
        for (var i = 0; i < count; i++)
        {
            values[i] = i < count / 2 || count == 1 ? first + (step * i) : last - (step * (count - 1 - i));
        }

        return values;
    }

    // Nichol and Dhariwal, arXiv 2102.09672, equation 17
    private static float[] Cosine(int count)
    {
        static double AlphaBar(double t) => Math.Pow(Math.Cos((t + 0.008) / 1.008 * Math.PI / 2), 2);
        return [.. Enumerable.Range(0, count).Select(i =>
            (float)Math.Min(1 - (AlphaBar((i + 1.0) / count) / AlphaBar((double)i / count)), 0.999))];
    }

    // torch.cumprod adds up in double on a CPU and rounds each entry.
    private static float[] Product(float[] betas)
    {
        var product = 1.0;
        return Array.ConvertAll(betas, beta => (float)(product *= 1 - beta));
    }

    // Algorithm 1 of arXiv 2305.08891: √ᾱ is shifted and stretched so that the last is 0 and the first stays.
    private static float[] WithoutFinalSignal(float[] betas)
    {
        var roots = Array.ConvertAll(Product(betas), MathF.Sqrt);
        var (first, last) = (roots[0], roots[^1]);
        var stretch = first / (first - last);
        var bars = Array.ConvertAll(roots, root => (root - last) * stretch * ((root - last) * stretch));
        return [.. bars.Select((bar, i) => 1 - (i == 0 ? bar : bar / bars[i - 1]))];
    }
}
