namespace MetaQuery.Tokenizers.Bpe;

/// <summary>(left id, right id) → (rank, merged id): an open-addressed table, read-only once filled.</summary>
internal sealed class MergeTable
{
    private const ulong Empty = ulong.MaxValue;
    private readonly ulong[] keys;
    private readonly (int Rank, int MergedId)[] values;
    private readonly int mask;

    public MergeTable(int count)
    {
        var size = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(16, count * 2L));
        keys = new ulong[size];
        Array.Fill(keys, Empty);
        values = new (int, int)[size];
        mask = size - 1;
    }

    /// <summary>A pair given twice keeps its later rank, as the reference's hash map does.</summary>
    public void Set(int left, int right, int rank, int mergedId)
    {
        var slot = Find(left, right);
        keys[slot] = Key(left, right);
        values[slot] = (rank, mergedId);
    }

    public bool TryGet(int left, int right, out int rank, out int mergedId)
    {
        var slot = Find(left, right);
        (rank, mergedId) = values[slot];
        return keys[slot] != Empty;
    }

    private int Find(int left, int right)
    {
        var key = Key(left, right);
        var slot = (int)((key * 0x9E3779B97F4A7C15UL) >> 32) & mask;
        while (keys[slot] != key && keys[slot] != Empty)
        {
            slot = (slot + 1) & mask;
        }

        return slot;
    }

    private static ulong Key(int left, int right) => ((ulong)(uint)left << 32) | (uint)right;
}
