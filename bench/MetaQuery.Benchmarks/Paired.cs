namespace MetaQuery.Benchmarks;

/// <summary>Two sides measured in turns, A B A B, so that a machine that slows down slows both; the ratio is taken pair by pair.</summary>
/// <param name="OursSeconds">Median over the rounds.</param>
/// <param name="PeerSeconds">Median over the rounds.</param>
/// <param name="Ratio">Median of peer / ours over the rounds: above 1, ours is faster.</param>
internal sealed record Paired(double OursSeconds, double PeerSeconds, double Ratio)
{
    public static Paired Measure(int rounds, Func<double> ours, Func<double> peer)
    {
        var pairs = new List<(double Ours, double Peer)>();
        for (var round = 0; round < rounds; round++)
        {
            // The side that begins alternates: whoever comes second may find warmer or hotter cores.
            pairs.Add(round % 2 == 0 ? (ours(), peer()) : Swap(peer(), ours));
        }

        return new Paired(
            Median(pairs.Select(pair => pair.Ours)), Median(pairs.Select(pair => pair.Peer)), Median(pairs.Select(pair => pair.Peer / pair.Ours)));

        static (double Ours, double Peer) Swap(double peer, Func<double> ours) => (ours(), peer);
    }

    public static double Median(IEnumerable<double> values)
    {
        var sorted = values.Order().ToArray();
        var middle = sorted.Length / 2;
        return sorted.Length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }
}
