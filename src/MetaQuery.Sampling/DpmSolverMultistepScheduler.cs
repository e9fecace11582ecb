using System.Text.Json;

namespace MetaQuery.Sampling;

/// <summary>
/// DPM-Solver++ multistep (Lu et al., arXiv 2211.01095) on a flow model's velocity, as diffusers 0.33 runs it for Sana:
/// x_t = (1 − σ) x₀ + σ ε, so α = 1 − σ and λ = ln(α / σ).
/// The schedule is made in float64 and rounded to float32 once; the timesteps given to the network are truncated to integers,
/// the sigmas are not.
/// </summary>
public sealed class DpmSolverMultistepScheduler : IScheduler
{
    private DpmSolverMultistepScheduler(SchedulerConfig config)
    {
        NumTrainTimesteps = config.Integer("num_train_timesteps", 1000);
        SolverOrder = config.Integer("solver_order", 2);
        FlowShift = config.Number("flow_shift", 1.0);
        LowerOrderFinal = config.Flag("lower_order_final", true);
        EulerAtFinal = config.Flag("euler_at_final", false);
        var solverType = config.Text("solver_type", "midpoint");
        // diffusers lets these two pass for DPM-Solver++ and runs midpoint in their place.
        SolverType = solverType is "logrho" or "bh1" or "bh2" ? "midpoint" : solverType;
        FinalSigmasType = config.Text("final_sigmas_type", "zero");
        AlphasCumulativeProduct = BetaSchedule.AlphasCumulativeProduct(
            config.Text("beta_schedule", "linear"), config.Number("beta_start", 0.0001), config.Number("beta_end", 0.02), NumTrainTimesteps);
    }

    public int NumTrainTimesteps { get; }

    /// <summary>1, 2 or 3.</summary>
    public int SolverOrder { get; }

    /// <summary>"midpoint" or "heun"; matters for order 2 alone.</summary>
    public string SolverType { get; }

    /// <summary>σ → shift σ / (1 + (shift − 1) σ).</summary>
    public double FlowShift { get; }

    /// <summary>"zero" or "sigma_min".</summary>
    public string FinalSigmasType { get; }

    public bool LowerOrderFinal { get; }

    public bool EulerAtFinal { get; }

    /// <summary>[NumTrainTimesteps], of the file's betas; not used by flow sigmas.</summary>
    public IReadOnlyList<float> AlphasCumulativeProduct { get; }

    /// <param name="config">A value of scheduler_config.json by its key, null where there is none.</param>
    /// <exception cref="SchedulerException">A setting is not supported: no flow sigmas, thresholding, Karras sigmas and the like.</exception>
    public static DpmSolverMultistepScheduler FromConfig(Func<string, JsonElement?> config)
    {
        const string Owner = "DPMSolverMultistepScheduler";
        var values = new SchedulerConfig(config);
        Require(values.Text("prediction_type", "epsilon"), "prediction_type", "flow_prediction");
        Require(values.Text("algorithm_type", "dpmsolver++"), "algorithm_type", "dpmsolver++");
        if (!values.Flag("use_flow_sigmas", false))
        {
            throw new SchedulerException($"scheduler_config.json: {Owner} without use_flow_sigmas is not supported; set it to true");
        }

        values.RefuseIfSet(Owner, "thresholding", "use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas");
        var scheduler = new DpmSolverMultistepScheduler(values);
        Require(scheduler.SolverType, "solver_type", "midpoint", "heun");
        Require(scheduler.FinalSigmasType, "final_sigmas_type", "zero", "sigma_min");
        if (scheduler.SolverOrder is < 1 or > 3)
        {
            throw new SchedulerException($"scheduler_config.json: solver_order is {scheduler.SolverOrder}, expected 1, 2 or 3");
        }

        if (scheduler.NumTrainTimesteps < 1 || !(scheduler.FlowShift > 0))
        {
            throw new SchedulerException(
                $"scheduler_config.json: num_train_timesteps is {scheduler.NumTrainTimesteps} and flow_shift {scheduler.FlowShift}, expected both above 0");
        }

        return scheduler;
    }

    /// <inheritdoc/>
    public SamplingRun Begin(int numInferenceSteps)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(numInferenceSteps, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(numInferenceSteps, NumTrainTimesteps);
        var levels = NumericRange.Linspace(1, 1.0 / NumTrainTimesteps, numInferenceSteps + 1);
        var timesteps = new float[numInferenceSteps];
        var sigmas = new float[numInferenceSteps + 1];
        for (var i = 0; i < numInferenceSteps; i++)
        {
            var unshifted = 1.0 - levels[numInferenceSteps - i];
            var sigma = FlowShift * unshifted / (1 + ((FlowShift - 1) * unshifted));
            sigmas[i] = (float)sigma;
            timesteps[i] = (float)Math.Truncate(sigma * NumTrainTimesteps);
        }

        sigmas[numInferenceSteps] = FinalSigmasType == "zero" ? 0 : sigmas[numInferenceSteps - 1];
        return new DpmSolverRun(this, timesteps, sigmas);
    }

    private static void Require(string value, string key, params ReadOnlySpan<string> supported)
    {
        if (!supported.Contains(value))
        {
            throw new SchedulerException(
                $"scheduler_config.json: {key} is '{value}', expected {string.Join(" or ", supported.ToArray())} (DPMSolverMultistepScheduler)");
        }
    }
}
