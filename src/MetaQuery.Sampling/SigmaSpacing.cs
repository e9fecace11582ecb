namespace MetaQuery.Sampling;

/// <summary>Noise levels that are spaced by a rule of their own, instead of following the training schedule's timesteps.</summary>
internal sealed class SigmaSpacing
{
    private static readonly string[] Flags = ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"];

    private readonly string? flag;
    private readonly double? sigmaMin;
    private readonly double? sigmaMax;

    private SigmaSpacing(string? flag, double? sigmaMin, double? sigmaMax) => (this.flag, this.sigmaMin, this.sigmaMax) = (flag, sigmaMin, sigmaMax);

    /// <summary>Whether one of the rules is switched on.</summary>
    public bool IsSet => flag is not null;

    public bool IsKarras => flag == Flags[0];

    /// <exception cref="SchedulerException">More than one rule is switched on, or an end is not above 0.</exception>
    public static SigmaSpacing Read(SchedulerConfig config)
    {
        var set = Array.FindAll(Flags, key => config.Flag(key, false));
        if (set.Length > 1)
        {
            throw new SchedulerException($"scheduler_config.json: {string.Join(" and ", set)} are both true, expected one of them at most");
        }

        var (min, max) = (config.OptionalNumber("sigma_min"), config.OptionalNumber("sigma_max"));
        return min is <= 0 || max is <= 0
            ? throw new SchedulerException($"scheduler_config.json: sigma_min is {min} and sigma_max {max}, expected numbers above 0")
            : new SigmaSpacing(set.FirstOrDefault(), min, max);
    }

    /// <summary>Falling levels between the ends, which the file's sigma_max and sigma_min may replace.</summary>
    public double[] Spread(double largest, double smallest, int count)
    {
        var (max, min) = (sigmaMax ?? largest, sigmaMin ?? smallest);
        return flag switch
        {
            "use_karras_sigmas" => Karras(max, min, count),
            "use_exponential_sigmas" => Array.ConvertAll(NumericRange.Linspace(Math.Log(max), Math.Log(min), count), Math.Exp),
            // arXiv 2407.12173: quantiles of a Beta(0.6, 0.6) distribution
            _ => Array.ConvertAll(NumericRange.Linspace(0, 1, count), ramp => min + (BetaDistribution.Quantile(1 - ramp, 0.6) * (max - min))),
        };
    }

    // arXiv 2206.00364, equation 5
    private static double[] Karras(double max, double min, int count)
    {
        const double Rho = 7;
        var (from, to) = (Math.Pow(max, 1 / Rho), Math.Pow(min, 1 / Rho));
        return Array.ConvertAll(NumericRange.Linspace(0, 1, count), ramp => Math.Pow(from + (ramp * (to - from)), Rho));
    }
}

/// <summary>The symmetric Beta distribution on [0, 1].</summary>
internal static class BetaDistribution
{
    /// <summary>x with P(X ≤ x) = p.</summary>
    /// <param name="p">In [0, 1].</param>
    /// <param name="shape">Both of the distribution's parameters, above 0.</param>
    public static double Quantile(double p, double shape)
    {
        // The density is infinite at both ends for shapes below 1, where Newton's steps leave [0, 1]: halving is safe, and cheap enough.
        var (low, high) = (0.0, 1.0);
        for (var i = 0; i < 200 && low < high; i++)
        {
            var middle = (low + high) / 2;
            if (middle == low || middle == high)
            {
                break;
            }

            (low, high) = Cumulative(middle, shape) < p ? (middle, high) : (low, middle);
        }

        return p >= 1 ? 1 : p <= 0 ? 0 : (low + high) / 2;
    }

    // The incomplete beta function's continued fraction (Abramowitz and Stegun 26.5.8), by symmetry on the half where it converges fast.
    private static double Cumulative(double x, double shape)
    {
        if (x > 0.5)
        {
            return 1 - Cumulative(1 - x, shape);
        }

        var fraction = 1.0;
        for (var m = 60; m >= 1; m--)
        {
            var even = m * (shape - m) * x / ((shape + (2 * m) - 1) * (shape + (2 * m)));
            fraction = 1 + (even / fraction);
            var k = m - 1;
            var odd = -(shape + k) * ((2 * shape) + k) * x / ((shape + (2 * k)) * (shape + (2 * k) + 1));
            fraction = 1 + (odd / fraction);
        }

        var half = Math.Pow(x, shape) * Math.Pow(1 - x, shape) / (shape * fraction);
        return half / Complete(shape);
    }

    // B(a, a), so that the middle of the distribution is 1/2.
    private static double Complete(double shape)
    {
        var fraction = 1.0;
        for (var m = 60; m >= 1; m--)
        {
            fraction = 1 + (m * (shape - m) * 0.5 / ((shape + (2 * m) - 1) * (shape + (2 * m))) / fraction);
            var k = m - 1;
            fraction = 1 - ((shape + k) * ((2 * shape) + k) * 0.5 / ((shape + (2 * k)) * (shape + (2 * k) + 1)) / fraction);
        }

        return 2 * Math.Pow(0.5, 2 * shape) / (shape * fraction);
    }
}
