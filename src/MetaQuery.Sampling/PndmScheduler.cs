using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>
/// Pseudo numerical methods for diffusion models (Liu et al., arXiv 2202.09778), as diffusers 0.33 runs them: linear multistep of order 4,
/// after a start of Runge and Kutta's method (twelve evaluations) or, with skip_prk_steps, after one step that is taken twice.
/// </summary>
public sealed class PndmScheduler : IScheduler
{
    private const int Order = 4;

    private readonly PredictionType prediction;
    private readonly DiscreteTimesteps timesteps;
    private readonly double finalAlpha;
    private readonly bool skipsRungeKutta;

    private PndmScheduler(Func<string, JsonElement?> source)
    {
        var config = new SchedulerConfig(source);
        Betas = BetaSchedule.FromConfig(source);
        prediction = Prediction.Read(config, "epsilon", "v_prediction");
        timesteps = new DiscreteTimesteps(config);
        finalAlpha = config.Flag("set_alpha_to_one", false) ? 1 : Betas.AlphasCumulativeProduct[0];
        skipsRungeKutta = config.Flag("skip_prk_steps", false);
    }

    public int NumTrainTimesteps => Betas.Betas.Count;

    /// <summary>The training noise.</summary>
    public BetaSchedule Betas { get; }

    /// <param name="config">A value of scheduler_config.json by its key, null where there is none.</param>
    /// <exception cref="SchedulerException">A setting is not supported or makes no sense.</exception>
    public static PndmScheduler FromConfig(Func<string, JsonElement?> config) => new(config);

    /// <summary>A run has more evaluations of the network than steps: one more with skip_prk_steps (from two steps on), nine more without.</summary>
    /// <inheritdoc/>
    /// <exception cref="SchedulerException">Without skip_prk_steps, fewer than four steps.</exception>
    public SamplingRun Begin(int numInferenceSteps)
    {
        var falling = timesteps.Of(numInferenceSteps);
        var ratio = NumTrainTimesteps / numInferenceSteps;
        if (skipsRungeKutta)
        {
            int[] twice = falling.Length < 2 ? falling : [falling[0], falling[1], .. falling[1..]];
            return new Run(this, twice, rungeKutta: 0, ratio);
        }

        if (numInferenceSteps < Order)
        {
            throw new SchedulerException($"scheduler_config.json: skip_prk_steps is false, which takes at least {Order} steps, not {numInferenceSteps}");
        }

        // The first three steps, each evaluated at its start, twice half-way and at its end.
        int[] start = [.. Enumerable.Range(0, Order - 1).SelectMany(i =>
        {
            var half = falling[i + 1] + (ratio / 2);
            return new[] { falling[i], half, half, falling[i + 1] };
        })];
        return new Run(this, [.. start, .. falling[(Order - 1)..]], start.Length, ratio);
    }

    private sealed class Run(PndmScheduler scheduler, int[] timesteps, int rungeKutta, int ratio)
        : SamplingRun(Array.ConvertAll(timesteps, timestep => (float)timestep), [])
    {
        private readonly List<Tensor> outputs = []; // newest first, at most Order
        private Tensor? start;                      // the latents that a step with several evaluations begins at
        private Tensor? sum;                        // of Runge and Kutta's weighted outputs

        private protected override Tensor Advance(int index, Tensor output, Tensor latents, Tensor? noise) =>
            index < rungeKutta ? RungeKutta(index, output, latents) : Multistep(index - rungeKutta, index, output, latents);

        private Tensor RungeKutta(int index, Tensor output, Tensor latents)
        {
            var stage = index % Order;
            var from = timesteps[index - stage];
            var to = timesteps[index] - (index % 2 == 0 ? ratio / 2 : 0);
            if (stage == 0)
            {
                Remember(output);
                Keep(ref start, latents.alias());
                Keep(ref sum, output * (1f / 6));
                return Move(start!, from, to, output);
            }

            Keep(ref sum, LinearCombination.Of((sum!, 1), (output, stage == 3 ? 1.0 / 6 : 1.0 / 3)));
            return Move(start!, from, to, stage == 3 ? sum! : output);
        }

        private Tensor Multistep(int counter, int index, Tensor output, Tensor latents)
        {
            var timestep = timesteps[index];
            if (rungeKutta == 0 && counter == 1)
            {
                // The first step once more, with the mean of the outputs at both of its ends.
                using var mean = LinearCombination.Of((output, 0.5), (outputs[0], 0.5));
                return Move(start!, timestep + ratio, timestep, mean);
            }

            Remember(output);
            if (rungeKutta == 0 && counter == 0)
            {
                Keep(ref start, latents.alias());
            }

            using var combined = outputs.Count switch
            {
                1 => output.alias(),
                2 => LinearCombination.Of((outputs[0], 3.0 / 2), (outputs[1], -1.0 / 2)),
                3 => LinearCombination.Of((outputs[0], 23.0 / 12), (outputs[1], -16.0 / 12), (outputs[2], 5.0 / 12)),
                _ => LinearCombination.Of((outputs[0], 55.0 / 24), (outputs[1], -59.0 / 24), (outputs[2], 37.0 / 24), (outputs[3], -9.0 / 24)),
            };
            return Move(latents, timestep, timestep - ratio, combined);
        }

        // Equation 9 of the paper, in ᾱ.
        private Tensor Move(Tensor latents, int from, int to, Tensor output)
        {
            var (now, next) = (scheduler.Betas.At(from, scheduler.finalAlpha), scheduler.Betas.At(to, scheduler.finalAlpha));
            using var epsilon = Prediction.Noise(scheduler.prediction, output, latents, Math.Sqrt(now), Math.Sqrt(1 - now));
            var denominator = (now * Math.Sqrt(1 - next)) + Math.Sqrt(now * (1 - now) * next);
            return LinearCombination.Of((latents, Math.Sqrt(next / now)), (epsilon, -(next - now) / denominator));
        }

        private void Remember(Tensor output)
        {
            outputs.Insert(0, output.alias().DetachFromDisposeScope());
            if (outputs.Count > Order)
            {
                outputs[^1].Dispose();
                outputs.RemoveAt(Order);
            }
        }

        private static void Keep(ref Tensor? slot, Tensor value)
        {
            slot?.Dispose();
            slot = value.DetachFromDisposeScope();
        }

        protected override void Dispose(bool disposing)
        {
            outputs.ForEach(output => output.Dispose());
            outputs.Clear();
            start?.Dispose();
            sum?.Dispose();
            base.Dispose(disposing);
        }
    }
}
