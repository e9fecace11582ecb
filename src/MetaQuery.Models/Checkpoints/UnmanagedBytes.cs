namespace MetaQuery.Models.Checkpoints;

/// <summary>Bytes beyond the reach of a span, which ends at 2 GB.</summary>
readonly unsafe struct UnmanagedBytes(byte* start, long length)
{
    const int PieceBytes = 1 << 30;

    readonly byte* start = start;

    /// <summary>The index of the first byte above <paramref name="limit"/>, or -1.</summary>
    public long IndexOfAnyAbove(byte limit)
    {
        for (long at = 0; at < length; at += PieceBytes)
        {
            int found = new ReadOnlySpan<byte>(start + at, (int)Math.Min(PieceBytes, length - at)).IndexOfAnyExceptInRange((byte)0, limit);
            if (found >= 0)
                return at + found;
        }
        return -1;
    }
}
