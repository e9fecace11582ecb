using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>Denoising diffusion implicit models (Song et al., arXiv 2010.02502) with η = 0, as diffusers 0.33 runs them.</summary>
public sealed class DdimScheduler : IScheduler
{
    private readonly PredictionType prediction;
    private readonly SampleLimits limits;
    private readonly DiscreteTimesteps timesteps;
    private readonly double finalAlpha;

    private DdimScheduler(Func<string, JsonElement?> source)
    {
        var config = new SchedulerConfig(source);
        Betas = BetaSchedule.FromConfig(source);
        prediction = Prediction.Read(config, "epsilon", "sample", "v_prediction");
        limits = new SampleLimits(config, clips: true);
        timesteps = new DiscreteTimesteps(config);
        finalAlpha = config.Flag("set_alpha_to_one", true) ? 1 : Betas.AlphasCumulativeProduct[0];
    }

    public int NumTrainTimesteps => Betas.Betas.Count;

    /// <summary>The training noise.</summary>
    public BetaSchedule Betas { get; }

    /// <param name="config">A value of scheduler_config.json by its key, null where there is none.</param>
    /// <exception cref="SchedulerException">A setting is not supported or makes no sense.</exception>
    public static DdimScheduler FromConfig(Func<string, JsonElement?> config) => new(config);

    /// <inheritdoc/>
    public SamplingRun Begin(int numInferenceSteps) => new Run(this, timesteps.Of(numInferenceSteps));

    private sealed class Run(DdimScheduler scheduler, int[] timesteps) : SamplingRun(Array.ConvertAll(timesteps, timestep => (float)timestep), [])
    {
        private protected override Tensor Advance(int index, Tensor output, Tensor latents, Tensor? noise)
        {
            var timestep = timesteps[index];
            var now = scheduler.Betas.At(timestep, scheduler.finalAlpha);
            var next = scheduler.Betas.At(timestep - (scheduler.NumTrainTimesteps / timesteps.Length), scheduler.finalAlpha);
            var (alpha, sigma) = (Math.Sqrt(now), Math.Sqrt(1 - now));
            using var clean = scheduler.limits.Apply(Prediction.CleanLatents(scheduler.prediction, output, latents, alpha, sigma));
            // Of the network's own output, not of the clipped clean latents.
            using var direction = Prediction.Noise(scheduler.prediction, output, latents, alpha, sigma);
            return LinearCombination.Of((clean, Math.Sqrt(next)), (direction, Math.Sqrt(1 - next)));
        }
    }
}
