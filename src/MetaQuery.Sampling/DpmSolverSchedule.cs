namespace MetaQuery.Sampling;

/// <summary>The noise levels and timesteps of DPM-Solver: flow sigmas, the training schedule's at chosen timesteps, or levels of their own spacing.</summary>
internal sealed class DpmSolverSchedule
{
    private readonly DpmSolverMultistepScheduler scheduler;
    private readonly SigmaSpacing spacing;
    private readonly bool hasLuLambdas;
    private readonly bool roundsTimesteps;
    private readonly string timestepSpacing;
    private readonly int stepsOffset;
    private readonly float[] sigmas; // [T], rising
    private readonly int lastTimestep;

    public DpmSolverSchedule(DpmSolverMultistepScheduler scheduler, SchedulerConfig config)
    {
        this.scheduler = scheduler;
        spacing = SigmaSpacing.Read(config);
        hasLuLambdas = config.Flag("use_lu_lambdas", false);
        roundsTimesteps = config.Text("beta_schedule", "linear") != "squaredcos_cap_v2";
        timestepSpacing = config.OneOf("timestep_spacing", "linspace", "linspace", "leading", "trailing");
        stepsOffset = config.Integer("steps_offset", 0);
        sigmas = BetaSchedule.Sigmas(scheduler.AlphasCumulativeProduct);
        // ln(α / σ) below the limit is left out: cosine schedules end there.
        var limit = config.Number("lambda_min_clipped", double.NegativeInfinity);
        lastTimestep = scheduler.NumTrainTimesteps - scheduler.AlphasCumulativeProduct.Count(alpha => MathF.Log(MathF.Sqrt(alpha)) - MathF.Log(MathF.Sqrt(1 - alpha)) < limit);
        if (lastTimestep < 1)
        {
            throw new SchedulerException($"scheduler_config.json: lambda_min_clipped is {limit}, which leaves no timestep of {scheduler.NumTrainTimesteps}");
        }
    }

    /// <returns>Timesteps, whole numbers, and one more sigma than those.</returns>
    public (float[] Timesteps, float[] Sigmas) Of(int count)
    {
        var (timesteps, levels) = Levels(count);
        var last = scheduler.FinalSigmasType == "zero" ? 0 : sigmas[0];
        return ([.. timesteps.Select(timestep => (float)Math.Truncate(timestep))], [.. levels.Select(level => (float)level), last]);
    }

    private (double[] Timesteps, double[] Levels) Levels(int count)
    {
        if (hasLuLambdas && !spacing.IsKarras)
        {
            // Lu et al. 2022, appendix: evenly spaced in ln σ, written over the logarithms as the reference rounds them.
            var lambdas = NumericRange.Linspace(0, 1, count);
            var (largest, smallest) = ((double)MathF.Log(sigmas[^1]), (double)MathF.Log(sigmas[0]));
            return WithTimesteps(Array.ConvertAll(lambdas, ramp => Math.Exp(largest + (ramp * (smallest - largest)))), roundsTimesteps);
        }

        if (spacing.IsSet)
        {
            return WithTimesteps(spacing.Spread(sigmas[^1], sigmas[0], count), roundsTimesteps && spacing.IsKarras);
        }

        return scheduler.HasFlowSigmas ? Flow(count) : OfTraining(count);
    }

    private (double[] Timesteps, double[] Levels) Flow(int count)
    {
        var (trained, shift) = (scheduler.NumTrainTimesteps, scheduler.FlowShift);
        var alphas = NumericRange.Linspace(1, 1.0 / trained, count + 1);
        var levels = new double[count];
        for (var i = 0; i < count; i++)
        {
            var unshifted = 1.0 - alphas[count - i];
            levels[i] = shift * unshifted / (1 + ((shift - 1) * unshifted));
        }

        return (Array.ConvertAll(levels, level => level * trained), levels);
    }

    private (double[] Timesteps, double[] Levels) OfTraining(int count)
    {
        var trained = scheduler.NumTrainTimesteps;
        double[] timesteps = timestepSpacing switch
        {
            "linspace" => [.. NumericRange.Linspace(0, lastTimestep - 1, count + 1).Select(timestep => Math.Round(timestep)).Reverse().Take(count)],
            "leading" => [.. Enumerable.Range(0, count).Select(i => (double)((count - i) * (lastTimestep / (count + 1))) + stepsOffset)],
            _ => [.. NumericRange.Falling(lastTimestep, (double)trained / count).Select(timestep => Math.Round(timestep) - 1)],
        };
        // As NumPy interpolates a table at whole numbers: the entry itself, the ends beyond them.
        return (timesteps, Array.ConvertAll(timesteps, timestep => (double)sigmas[(int)Math.Clamp(timestep, 0, trained - 1)]));
    }

    private (double[] Timesteps, double[] Levels) WithTimesteps(double[] levels, bool round)
    {
        var logarithms = Array.ConvertAll(sigmas, MathF.Log);
        return (Array.ConvertAll(levels, level => round ? Math.Round(TimestepOf(level, logarithms)) : TimestepOf(level, logarithms)), levels);
    }

    // Where a level lies between the training schedule's, on the scale of ln σ.
    private static double TimestepOf(double level, float[] logarithms)
    {
        var logarithm = Math.Log(Math.Max(level, 1e-10));
        var low = 0;
        while (low + 2 < logarithms.Length && logarithms[low + 1] <= logarithm)
        {
            low++;
        }

        var high = Math.Min(low + 1, logarithms.Length - 1);
        var share = high == low ? 0 : Math.Clamp((logarithms[low] - logarithm) / (logarithms[low] - logarithms[high]), 0, 1);
        return ((1 - share) * low) + (share * high);
    }
}
