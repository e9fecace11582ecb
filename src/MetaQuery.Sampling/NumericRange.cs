namespace MetaQuery.Sampling;

/// <summary>NumPy's linspace, with its order of operations, so that a schedule's float64 values are the reference's.</summary>
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
}
