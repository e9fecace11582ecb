using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>What a network's output means, as scheduler_config.json's prediction_type names it.</summary>
internal enum PredictionType
{
    Epsilon,
    Sample,
    VPrediction,
    FlowPrediction,
}

internal static class Prediction
{
    /// <exception cref="SchedulerException">Another type than those given.</exception>
    public static PredictionType Read(SchedulerConfig config, params ReadOnlySpan<string> supported) => config.OneOf("prediction_type", "epsilon", supported) switch
    {
        "epsilon" => PredictionType.Epsilon,
        "sample" => PredictionType.Sample,
        "v_prediction" => PredictionType.VPrediction,
        _ => PredictionType.FlowPrediction,
    };

    /// <summary>The clean latents that an output stands for, where x = α x₀ + σ ε.</summary>
    /// <returns>x₀; the caller owns it.</returns>
    public static Tensor CleanLatents(PredictionType type, Tensor output, Tensor latents, double alpha, double sigma) => type switch
    {
        PredictionType.Sample => output.alias(),
        PredictionType.Epsilon => LinearCombination.Of((latents, 1 / alpha), (output, -sigma / alpha)),
        PredictionType.VPrediction => LinearCombination.Of((latents, alpha), (output, -sigma)),
        _ => LinearCombination.Of((latents, 1), (output, -sigma)),
    };

    /// <summary>The noise ε that an output stands for.</summary>
    /// <returns>ε; the caller owns it.</returns>
    public static Tensor Noise(PredictionType type, Tensor output, Tensor latents, double alpha, double sigma) => type switch
    {
        PredictionType.Epsilon => output.alias(),
        PredictionType.Sample => LinearCombination.Of((latents, 1 / sigma), (output, -alpha / sigma)),
        _ => LinearCombination.Of((latents, sigma), (output, alpha)),
    };
}

/// <summary>Sums of scaled tensors, rounded alike at every place of a batch.</summary>
internal static class LinearCombination
{
    /// <summary>Σ tensor · factor, left to right.</summary>
    /// <returns>The caller owns it.</returns>
    public static Tensor Of(params ReadOnlySpan<(Tensor Tensor, double Factor)> terms)
    {
        var sum = terms[0].Tensor * (float)terms[0].Factor;
        foreach (var (tensor, factor) in terms[1..])
        {
            // Product and sum apart: a fused multiply-add would round differently in a vector loop and in its tail.
            using var term = tensor * (float)factor;
            using var before = sum;
            sum = before + term;
        }

        return sum;
    }
}
