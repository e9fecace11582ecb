using System.Runtime.InteropServices;

namespace MetaQuery.Pipelines.RandomModels;

/// <summary>Numbers for weights that mean nothing: normal, at a deviation that keeps a network's activations finite; norms are one.</summary>
/// <remarks>A value is a function of (seed, tensor's name, element). Normal numbers are quantiles of 65,536 levels, so they end at 4.3 deviations.</remarks>
internal sealed class RandomWeights(ulong seed)
{
    private const int Levels = 1 << 16;
    private const double UsualDeviation = 0.02; // initializer_range of the language models

    private static readonly Lazy<double[]> Quantiles = new(() => [.. Enumerable.Range(0, Levels).Select(i => Quantile((i + 0.5) / Levels))]);

    private readonly Dictionary<(double, bool), byte[]> _tables = [];

    /// <summary>A piece of a tensor.</summary>
    /// <param name="key">Its name.</param>
    /// <param name="shape">Its shape.</param>
    /// <param name="first">First element.</param>
    /// <param name="isHalf">bfloat16 instead of float32.</param>
    /// <param name="piece">Receives the elements.</param>
    public void Fill(string key, IReadOnlyList<long> shape, long first, bool isHalf, Memory<byte> piece)
    {
        if (Constant(key, shape) is { } value)
        {
            if (isHalf)
                MemoryMarshal.Cast<byte, ushort>(piece.Span).Fill(Half((float)value));
            else
                MemoryMarshal.Cast<byte, float>(piece.Span).Fill((float)value);
            return;
        }

        var table = Table(Deviation(key, shape), isHalf);
        var start = Mix(seed ^ Hash(key));
        var (groups, parts) = ((piece.Length / (isHalf ? 2 : 4) + 3L) / 4, Environment.ProcessorCount);
        Parallel.For(0, parts, part =>
        {
            // a piece begins at a multiple of four elements
            var (from, to) = (groups * part / parts, groups * (part + 1) / parts);
            if (isHalf)
                Draw(MemoryMarshal.Cast<byte, ushort>(table), MemoryMarshal.Cast<byte, ushort>(piece.Span), from, to, start, first);
            else
                Draw(MemoryMarshal.Cast<byte, float>(table), MemoryMarshal.Cast<byte, float>(piece.Span), from, to, start, first);
        });
    }

    private static void Draw<T>(ReadOnlySpan<T> table, Span<T> target, long from, long to, ulong start, long first)
    {
        for (var group = from; group < to; group++)
        {
            var bits = Mix(start + (ulong)(first / 4 + group));
            for (var i = (int)group * 4; i < Math.Min(target.Length, ((int)group * 4) + 4); i++, bits >>= 16)
                target[i] = table[(int)(bits & (Levels - 1))];
        }
    }

    // Norms multiply by one; the connector's last one by the root of 5.5 where its conditions go to Sana (the reference's start value).
    private static double? Constant(string key, IReadOnlyList<long> shape)
    {
        if (key.EndsWith("connector.4.weight", StringComparison.Ordinal))
            return shape[0] == SanaChannels ? Math.Sqrt(5.5) : 1;
        return (shape.Count == 1 && key.EndsWith("weight", StringComparison.Ordinal)) || key.EndsWith("gamma", StringComparison.Ordinal) ? 1 : null;
    }

    private const long SanaChannels = 2304;

    private static double Deviation(string key, IReadOnlyList<long> shape)
    {
        if (shape.Count < 2 || key.Contains("embed", StringComparison.Ordinal))
            return UsualDeviation;
        var inputs = shape.Skip(1).Aggregate(1L, (product, size) => product * size);
        return Math.Min(UsualDeviation, 1 / Math.Sqrt(inputs));
    }

    private byte[] Table(double deviation, bool isHalf)
    {
        if (_tables.TryGetValue((deviation, isHalf), out var table))
            return table;
        var values = Quantiles.Value.Select(quantile => (float)(quantile * deviation)).ToArray();
        table = isHalf ? [.. MemoryMarshal.AsBytes<ushort>(values.Select(Half).ToArray())] : [.. MemoryMarshal.AsBytes<float>(values)];
        return _tables[(deviation, isHalf)] = table;
    }

    // Nearest even, as libtorch rounds.
    private static ushort Half(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }

    private static ulong Hash(string text)
    {
        var hash = 14695981039346656037UL; // FNV-1a
        foreach (var letter in text)
            hash = (hash ^ letter) * 1099511628211UL;
        return hash;
    }

    // splitmix64
    private static ulong Mix(ulong x)
    {
        x += 0x9e3779b97f4a7c15UL;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9UL;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebUL;
        return x ^ (x >> 31);
    }

    // Abramowitz and Stegun 26.2.23: within 4.5e-4, which weights without meaning do not notice.
    private static double Quantile(double p)
    {
        var t = Math.Sqrt(-2 * Math.Log(Math.Min(p, 1 - p)));
        var x = t - ((2.515517 + (0.802853 * t) + (0.010328 * t * t)) / (1 + (1.432788 * t) + (0.189269 * t * t) + (0.001308 * t * t * t)));
        return p < 0.5 ? -x : x;
    }
}
