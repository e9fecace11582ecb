namespace MetaQuery.Sampling;

/// <summary>The training noise of variance-preserving models (DDPM, arXiv 2006.11239), which flow schedules carry along unused.</summary>
public static class BetaSchedule
{
    /// <summary>ᾱ: the running product of 1 − β, [numTrainTimesteps].</summary>
    /// <param name="schedule">"linear" or "scaled_linear" (linear in √β: Stable Diffusion).</param>
    /// <exception cref="SchedulerException">Another schedule.</exception>
    public static float[] AlphasCumulativeProduct(string schedule, double betaStart, double betaEnd, int numTrainTimesteps)
    {
        var betas = schedule switch
        {
            "linear" => NumericRange.Linspace(betaStart, betaEnd, numTrainTimesteps),
            "scaled_linear" => Array.ConvertAll(
                NumericRange.Linspace(Math.Sqrt(betaStart), Math.Sqrt(betaEnd), numTrainTimesteps), root => root * root),
            _ => throw new SchedulerException($"scheduler_config.json: beta_schedule is '{schedule}', expected linear or scaled_linear"),
        };
        var product = 1.0;
        return Array.ConvertAll(betas, beta => (float)(product *= 1 - beta));
    }
}
