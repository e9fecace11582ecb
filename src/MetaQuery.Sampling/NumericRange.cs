namespace MetaQuery.Sampling;

/// <summary>NumPy's ranges, with their order of operations, so that a schedule's float64 values are the reference's.</summary>
internal static class NumericRange
{
    public static double[] Linspace(double start, double stop, int count)
    {
        var values = new double[count];
        var step = count > 1 ? (stop - start) / (count - 1) : 0;
        for (var i = 0; i < count; i++)
        {
            values[i] = (i * step) + start;
        }

        if (count > 1)
        {
            values[^1] = stop;
        }

        return values;
    }

    /// <summary>arange(start, 0, -step): rounding may make it one longer than start / step.</summary>
    public static double[] Falling(double start, double step)
    {
        var values = new double[(int)Math.Ceiling(start / step)];
        var delta = (start - step) - start;
        for (var i = 0; i < values.Length; i++)
        {
            values[i] = start + (i * delta);
        }

        return values;
    }
}
