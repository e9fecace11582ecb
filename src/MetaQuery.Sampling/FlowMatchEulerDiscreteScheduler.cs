using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>
/// Euler steps along a flow (arXiv 2403.03206), as diffusers 0.33 runs it: x ← x + (σ_next − σ) · velocity.
/// Beside sampling it holds the table that flow training draws from (<see cref="FlowTrainingTable"/>).
/// </summary>
public sealed class FlowMatchEulerDiscreteScheduler : IScheduler
{
    private readonly SigmaSpacing spacing;

    private FlowMatchEulerDiscreteScheduler(SchedulerConfig config)
    {
        spacing = SigmaSpacing.Read(config);
        NumTrainTimesteps = config.TrainTimesteps();
        Shift = config.Number("shift", 1.0);
        ShiftTerminal = config.Number("shift_terminal", 0);
        InvertSigmas = config.Flag("invert_sigmas", false);
        TrainingTable = FlowTrainingTable.Create(NumTrainTimesteps, (float)Shift);
    }

    public int NumTrainTimesteps { get; }

    /// <summary>σ → shift σ / (1 + (shift − 1) σ).</summary>
    public double Shift { get; }

    /// <summary>If not 0, the schedule is stretched so that its last sigma is this.</summary>
    public double ShiftTerminal { get; }

    public bool InvertSigmas { get; }

    /// <summary>What training draws its timesteps and sigmas from.</summary>
    public FlowTrainingTable TrainingTable { get; }

    /// <param name="config">A value of scheduler_config.json by its key, null where there is none; another class's file will do, as the reference does for training: then what it lacks
    /// takes diffusers' defaults, shift 1 among them (Sana's key is flow_shift).</param>
    /// <exception cref="SchedulerException">A setting is not supported, dynamic shifting for one.</exception>
    public static FlowMatchEulerDiscreteScheduler FromConfig(Func<string, JsonElement?> config)
    {
        var values = new SchedulerConfig(config);
        values.RefuseIfSet("FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting", "stochastic_sampling");
        if (values.Number("shift", 1.0) is var shift && !(shift > 0))
        {
            throw new SchedulerException($"scheduler_config.json: shift is {shift}, expected a number above 0");
        }

        if (values.Number("shift_terminal", 0) is var terminal && !(terminal is >= 0 and < 1))
        {
            throw new SchedulerException($"scheduler_config.json: shift_terminal is {terminal}, expected a number from 0 to below 1");
        }

        return new FlowMatchEulerDiscreteScheduler(values);
    }

    /// <summary>The schedule that MetaQuery samples with: custom sigmas linspace(1, 1/n, n), then shifted.</summary>
    /// <inheritdoc/>
    public SamplingRun Begin(int numInferenceSteps)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(numInferenceSteps, 1);
        return Begin(NumericRange.Linspace(1, 1.0 / numInferenceSteps, numInferenceSteps));
    }

    /// <summary>A run over given sigmas, which are shifted first.</summary>
    public SamplingRun Begin(IReadOnlyList<double> sigmas)
    {
        // The reference hands float32 sigmas over, and NumPy keeps to float32 from there on.
        var shift = (float)Shift;
        var shifted = sigmas.Select(sigma => shift * (float)sigma / (1 + ((shift - 1) * (float)sigma))).ToArray();
        if (ShiftTerminal != 0)
        {
            var scale = (1 - shifted[^1]) / (1 - (float)ShiftTerminal);
            shifted = Array.ConvertAll(shifted, sigma => 1 - ((1 - sigma) / scale));
        }

        return Finish(shifted);
    }

    /// <summary>
    /// diffusers' own schedule when no sigmas are given: evenly spaced between the training table's ends. Those are shifted
    /// already and are shifted here once more, as the reference does.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than one step.</exception>
    public SamplingRun BeginWithDefaultSigmas(int numInferenceSteps)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(numInferenceSteps, 1);
        var ends = TrainingTable.Sigmas;
        var timesteps = NumericRange.Linspace(ends[0] * (double)NumTrainTimesteps, ends[^1] * (double)NumTrainTimesteps, numInferenceSteps);
        var shifted = Array.ConvertAll(timesteps, timestep =>
        {
            var sigma = timestep / NumTrainTimesteps;
            return Shift * sigma / (1 + ((Shift - 1) * sigma));
        });
        if (ShiftTerminal != 0)
        {
            var scale = (1 - shifted[^1]) / (1 - ShiftTerminal);
            shifted = Array.ConvertAll(shifted, sigma => 1 - ((1 - sigma) / scale));
        }

        return Finish(Array.ConvertAll(shifted, sigma => (float)sigma));
    }

    private Run Finish(float[] sigmas)
    {
        if (spacing.IsSet)
        {
            sigmas = Array.ConvertAll(spacing.Spread(sigmas[0], sigmas[^1], sigmas.Length), sigma => (float)sigma);
        }

        if (InvertSigmas)
        {
            sigmas = Array.ConvertAll(sigmas, sigma => 1 - sigma);
        }

        var timesteps = Array.ConvertAll(sigmas, sigma => sigma * NumTrainTimesteps);
        return new Run(timesteps, [.. sigmas, InvertSigmas ? 1 : 0]);
    }

    private sealed class Run(float[] timesteps, float[] sigmas) : SamplingRun(timesteps, sigmas)
    {
        private protected override Tensor Advance(int index, Tensor velocity, Tensor latents, Tensor? noise)
        {
            using var move = velocity * (Sigmas[index + 1] - Sigmas[index]);
            return latents + move;
        }
    }
}
