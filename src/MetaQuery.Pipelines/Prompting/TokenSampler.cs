namespace MetaQuery.Pipelines.Prompting;

/// <summary>Chooses a token from logits: the most likely one, or a drawn one.</summary>
public sealed class TokenSampler
{
    private readonly double _temperature;
    private readonly double _topP;
    private readonly Random _random;

    /// <param name="temperature">0: the most likely token.</param>
    /// <param name="topP">Share of the probability that is drawn from, above 0 and up to 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">A value is out of its range.</exception>
    public TokenSampler(double temperature, double topP, int seed)
    {
        if (!(temperature >= 0 && double.IsFinite(temperature)))
            throw new ArgumentOutOfRangeException(nameof(temperature), temperature, "temperature is 0 or a positive number");
        if (topP is not (> 0 and <= 1))
            throw new ArgumentOutOfRangeException(nameof(topP), topP, "top-p is above 0 and at most 1");
        // With a seed the generator's algorithm is fixed by .NET's compatibility rules.
        (_temperature, _topP, _random) = (temperature, topP, new Random(seed));
    }

    /// <param name="logits">One per token of the vocabulary.</param>
    /// <returns>The chosen token's id; of equal ones the first.</returns>
    public long Choose(ReadOnlySpan<float> logits)
    {
        var best = 0;
        for (var i = 1; i < logits.Length; i++)
        {
            if (logits[i] > logits[best])
                best = i;
        }

        return _temperature == 0 ? best : Draw(logits, logits[best]);
    }

    private long Draw(ReadOnlySpan<float> logits, float largest)
    {
        var weights = new double[logits.Length];
        var ids = new int[logits.Length];
        double sum = 0;
        for (var i = 0; i < weights.Length; i++)
        {
            // Negative, so that sorting puts the most likely first; a stable order needs the id as well, which the draw does not.
            weights[i] = -Math.Exp((logits[i] - largest) / _temperature);
            sum -= weights[i];
            ids[i] = i;
        }

        Array.Sort(weights, ids);
        var (kept, mass) = (0, 0.0);
        while (kept < weights.Length && mass < _topP * sum)
            mass -= weights[kept++];
        var drawn = _random.NextDouble() * mass;
        for (var i = 0; i < kept; i++)
        {
            drawn += weights[i];
            if (drawn < 0)
                return ids[i];
        }

        return ids[Math.Max(kept - 1, 0)];
    }
}
