using System.Text.Json;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>Ancestral sampling (Ho et al., arXiv 2006.11239, equation 7), as diffusers 0.33 runs it; noise is added unless the timestep is 0.</summary>
public sealed class DdpmScheduler : IScheduler
{
    private const double LeastVariance = 1e-20; // DDPMScheduler._get_variance, diffusers 0.33

    private readonly PredictionType prediction;
    private readonly SampleLimits limits;
    private readonly DiscreteTimesteps timesteps;
    private readonly string varianceType;

    private DdpmScheduler(Func<string, JsonElement?> source)
    {
        var config = new SchedulerConfig(source);
        Betas = BetaSchedule.FromConfig(source);
        prediction = Prediction.Read(config, "epsilon", "sample", "v_prediction");
        limits = new SampleLimits(config, clips: true);
        timesteps = new DiscreteTimesteps(config);
        varianceType = config.OneOf("variance_type", "fixed_small", "fixed_small", "fixed_small_log", "fixed_large");
    }

    public int NumTrainTimesteps => Betas.Betas.Count;

    /// <summary>The training noise, with noisy latents and targets for training.</summary>
    public BetaSchedule Betas { get; }

    /// <param name="config">A value of scheduler_config.json by its key, null where there is none; another class's file will do.</param>
    /// <exception cref="SchedulerException">A setting is not supported (a learned variance) or makes no sense.</exception>
    public static DdpmScheduler FromConfig(Func<string, JsonElement?> config) => new(config);

    /// <inheritdoc/>
    public SamplingRun Begin(int numInferenceSteps) => new Run(this, timesteps.Of(numInferenceSteps));

    private sealed class Run(DdpmScheduler scheduler, int[] timesteps) : SamplingRun(Array.ConvertAll(timesteps, timestep => (float)timestep), [])
    {
        /// <inheritdoc/>
        public override bool NeedsNoise => true;

        private protected override Tensor Advance(int index, Tensor output, Tensor latents, Tensor? noise)
        {
            var now = scheduler.Betas.At(timesteps[index], 1);
            var next = scheduler.Betas.At(index + 1 < timesteps.Length ? timesteps[index + 1] : -1, 1);
            var beta = 1 - (now / next); // of the whole step
            using var clean = scheduler.limits.Apply(
                Prediction.CleanLatents(scheduler.prediction, output, latents, Math.Sqrt(now), Math.Sqrt(1 - now)));
            var cleanFactor = Math.Sqrt(next) * beta / (1 - now);
            var latentsFactor = Math.Sqrt(1 - beta) * (1 - next) / (1 - now);
            if (timesteps[index] == 0)
            {
                return LinearCombination.Of((clean, cleanFactor), (latents, latentsFactor));
            }

            var variance = scheduler.varianceType == "fixed_large" ? beta : Math.Max((1 - next) / (1 - now) * beta, LeastVariance);
            return LinearCombination.Of((clean, cleanFactor), (latents, latentsFactor), (noise!, Math.Sqrt(variance)));
        }
    }
}
