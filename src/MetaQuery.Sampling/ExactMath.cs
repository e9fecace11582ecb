namespace MetaQuery.Sampling;

/// <summary>
/// Logarithm and circular functions built from IEEE 754 additions, multiplications and divisions alone, in a fixed order.
/// Each of those is correctly rounded and the .NET compilers never contract them, so the results are the same bits on every
/// CPU and C library, which <see cref="Math.Log(double)"/> and <see cref="Math.Cos(double)"/> do not promise.
/// </summary>
internal static class ExactMath
{
    private const double Ln2 = 0.693147180559945309417;
    private const double QuarterPi = 0.785398163397448309616;
    private const double SquareRootOf2 = 1.41421356237309504880;

    /// <summary>ln(words / 2^32) for 1 ≤ words ≤ 2^32, to about 1e-16 relative.</summary>
    public static double LogOfFraction(ulong words)
    {
        var exponent = 63 - System.Numerics.BitOperations.LeadingZeroCount(words);
        var mantissa = (double)words / (1UL << exponent); // exact: a power of two, in [1, 2)
        if (mantissa > SquareRootOf2)
        {
            mantissa *= 0.5;
            exponent++;
        }

        // ln m = 2 artanh s, s = (m - 1) / (m + 1), |s| < 0.172; the first term left out is below 1e-19.
        var s = (mantissa - 1) / (mantissa + 1);
        var square = s * s;
        var series = 0.0;
        for (var odd = 23; odd >= 3; odd -= 2)
        {
            series = (series + (1.0 / odd)) * square;
        }

        return ((exponent - 32) * Ln2) + (2 * s * (1 + series));
    }

    /// <summary>cos and sin of 2π · word / 2^32; the reduction to an octant is exact, for it only takes bits.</summary>
    public static (double Cos, double Sin) CosSinOfTurn(uint word)
    {
        var octant = word >> 29;
        var fraction = word & 0x1FFFFFFF;
        // Odd octants are measured backwards from their far end, so that the argument stays in [0, π/4].
        var x = ((octant & 1) == 0 ? fraction : 0x20000000 - fraction) * (1.0 / 0x20000000) * QuarterPi;
        var (cos, sin) = (CosSeries(x), SinSeries(x));
        return octant switch
        {
            0 => (cos, sin),
            1 => (sin, cos),
            2 => (-sin, cos),
            3 => (-cos, sin),
            4 => (-cos, -sin),
            5 => (-sin, -cos),
            6 => (sin, -cos),
            _ => (cos, -sin),
        };
    }

    private static double CosSeries(double x)
    {
        var square = x * x;
        var series = 0.0;
        for (var even = 18; even >= 2; even -= 2)
        {
            series = (1 - series) * square / (even * (even - 1));
        }

        return 1 - series;
    }

    private static double SinSeries(double x)
    {
        var square = x * x;
        var series = 0.0;
        for (var odd = 19; odd >= 3; odd -= 2)
        {
            series = (1 - series) * square / (odd * (odd - 1));
        }

        return x * (1 - series);
    }
}
