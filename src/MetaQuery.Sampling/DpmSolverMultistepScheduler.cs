using System.Text.Json;

namespace MetaQuery.Sampling;

/// <summary>
/// DPM-Solver and DPM-Solver++ multistep (Lu et al., arXiv 2206.00927 and 2211.01095), as diffusers 0.33 runs them.
/// <para>Flow sigmas (Sana): x_t = (1 − σ) x₀ + σ ε, α = 1 − σ. Otherwise (Stable Diffusion) the file's σ is √((1 − ᾱ) / ᾱ), α = 1 / √(σ² + 1),
/// and the noise's own factor σ α. λ = ln(α / σ) in either case.</para>
/// The schedule is made in float64 and rounded to float32 once; the timesteps given to the network are truncated to integers,
/// the sigmas are not.
/// </summary>
public sealed class DpmSolverMultistepScheduler : IScheduler
{
    private readonly DpmSolverSchedule schedule;

    private DpmSolverMultistepScheduler(Func<string, JsonElement?> source)
    {
        var config = new SchedulerConfig(source);
        NumTrainTimesteps = config.TrainTimesteps();
        SolverOrder = config.Integer("solver_order", 2);
        // A name of another solver's algorithm, which diffusers takes for DPM-Solver++.
        AlgorithmType = config.OneOf("algorithm_type", "dpmsolver++", "dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver", "deis") is var algorithm and not "deis"
            ? algorithm : "dpmsolver++";
        // The same for solver types.
        SolverType = config.OneOf("solver_type", "midpoint", "midpoint", "heun", "logrho", "bh1", "bh2") == "heun" ? "heun" : "midpoint";
        LowerOrderFinal = config.Flag("lower_order_final", true);
        EulerAtFinal = config.Flag("euler_at_final", false);
        FinalSigmasType = config.OneOf("final_sigmas_type", "zero", "zero", "sigma_min");
        HasFlowSigmas = config.Flag("use_flow_sigmas", false);
        FlowShift = config.Number("flow_shift", 1.0);
        Prediction = IsPlusPlus
            ? Sampling.Prediction.Read(config, "epsilon", "sample", "v_prediction", "flow_prediction")
            : Sampling.Prediction.Read(config, "epsilon", "sample", "v_prediction");
        Limits = new SampleLimits(config, clips: false);
        var betas = BetaSchedule.FromConfig(source);
        float[] alphas = [.. betas.AlphasCumulativeProduct];
        if (config.Flag("rescale_betas_zero_snr", false))
        {
            alphas[^1] = 1f / (1 << 24); // not 0, so that the first sigma is finite (DPMSolverMultistepScheduler, diffusers 0.33)
        }

        AlphasCumulativeProduct = alphas;
        schedule = new DpmSolverSchedule(this, config);
        Check(config);
    }

    public int NumTrainTimesteps { get; }

    /// <summary>1, 2 or 3.</summary>
    public int SolverOrder { get; }

    /// <summary>dpmsolver++ or dpmsolver; with "sde-" before it, noise is added at every step.</summary>
    public string AlgorithmType { get; }

    /// <summary>"midpoint" or "heun"; matters for order 2 alone.</summary>
    public string SolverType { get; }

    /// <summary>σ → shift σ / (1 + (shift − 1) σ), for flow sigmas.</summary>
    public double FlowShift { get; }

    /// <summary>Whether x_t = (1 − σ) x₀ + σ ε.</summary>
    public bool HasFlowSigmas { get; }

    /// <summary>"zero" or "sigma_min".</summary>
    public string FinalSigmasType { get; }

    public bool LowerOrderFinal { get; }

    public bool EulerAtFinal { get; }

    /// <summary>[NumTrainTimesteps], of the file's betas; not used by flow sigmas.</summary>
    public IReadOnlyList<float> AlphasCumulativeProduct { get; }

    internal PredictionType Prediction { get; }

    internal SampleLimits Limits { get; }

    internal bool IsPlusPlus => AlgorithmType.EndsWith("++", StringComparison.Ordinal);

    internal bool IsStochastic => AlgorithmType.StartsWith("sde-", StringComparison.Ordinal);

    /// <param name="config">A value of scheduler_config.json by its key, null where there is none; another class's file will do, as MetaQuery reads
    /// Stable Diffusion's: what it lacks takes DPM-Solver's defaults.</param>
    /// <exception cref="SchedulerException">A setting is not supported or makes no sense.</exception>
    public static DpmSolverMultistepScheduler FromConfig(Func<string, JsonElement?> config) => new(config);

    /// <inheritdoc/>
    public SamplingRun Begin(int numInferenceSteps)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(numInferenceSteps, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(numInferenceSteps, NumTrainTimesteps);
        var (timesteps, sigmas) = schedule.Of(numInferenceSteps);
        return new DpmSolverRun(this, timesteps, sigmas);
    }

    /// <summary>The factors of x₀ and of the noise at a noise level.</summary>
    internal (double Alpha, double Sigma) FactorsOf(double sigma)
    {
        if (HasFlowSigmas)
        {
            return (1 - sigma, sigma);
        }

        var alpha = 1 / Math.Sqrt((sigma * sigma) + 1);
        return (alpha, sigma * alpha);
    }

    private void Check(SchedulerConfig config)
    {
        if (SolverOrder is < 1 or > 3)
        {
            throw new SchedulerException($"scheduler_config.json: solver_order is {SolverOrder}, expected 1, 2 or 3");
        }

        if (SolverOrder == 3 && AlgorithmType == "sde-dpmsolver")
        {
            throw new SchedulerException("scheduler_config.json: solver_order is 3, expected 1 or 2 with the algorithm_type sde-dpmsolver");
        }

        if (!IsPlusPlus && FinalSigmasType == "zero")
        {
            throw new SchedulerException($"scheduler_config.json: final_sigmas_type is 'zero', expected sigma_min with the algorithm_type {AlgorithmType}");
        }

        if (!(FlowShift > 0))
        {
            throw new SchedulerException($"scheduler_config.json: flow_shift is {FlowShift}, expected a number above 0");
        }

        if (config.Text("variance_type", "fixed_small") is "learned" or "learned_range")
        {
            throw new SchedulerException("scheduler_config.json: variance_type is learned, expected null: networks that predict a variance are not supported");
        }
    }
}
