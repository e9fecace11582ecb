namespace MetaQuery.Sampling;

/// <summary>
/// The counter-based generator Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
/// Its output depends on the key and the counter alone, so any element can be made anywhere, in any order.
/// </summary>
public static class Philox4x32
{
    private const int Rounds = 10;
    private const uint Multiplier0 = 0xD2511F53;
    private const uint Multiplier1 = 0xCD9E8D57;
    private const uint WeylKey0 = 0x9E3779B9; // golden ratio
    private const uint WeylKey1 = 0xBB67AE85; // sqrt(3) - 1

    /// <summary>Four random words of one 128-bit counter under one 64-bit key.</summary>
    /// <param name="counter0">The counter's lowest word.</param>
    /// <param name="counter1">The counter's second word.</param>
    /// <param name="counter2">The counter's third word.</param>
    /// <param name="counter3">The counter's highest word.</param>
    /// <param name="key">Low word first, as in Random123's reference vectors.</param>
    public static (uint Word0, uint Word1, uint Word2, uint Word3) Block(
        uint counter0, uint counter1, uint counter2, uint counter3, ulong key)
    {
        var key0 = (uint)key;
        var key1 = (uint)(key >> 32);
        for (var round = 0; round < Rounds; round++)
        {
            var product0 = (ulong)Multiplier0 * counter0;
            var product1 = (ulong)Multiplier1 * counter2;
            (counter0, counter1, counter2, counter3) = (
                (uint)(product1 >> 32) ^ counter1 ^ key0,
                (uint)product1,
                (uint)(product0 >> 32) ^ counter3 ^ key1,
                (uint)product0);
            key0 = unchecked(key0 + WeylKey0);
            key1 = unchecked(key1 + WeylKey1);
        }

        return (counter0, counter1, counter2, counter3);
    }
}
