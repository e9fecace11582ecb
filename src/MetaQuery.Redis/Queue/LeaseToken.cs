using MetaQuery.Farm;

namespace MetaQuery.Redis;

/// <summary>A lease's token: <c>EPOCH/STREAM/ENTRY</c>. The epoch names one life of the data in Redis, so that no token is ever used twice.</summary>
internal readonly record struct LeaseToken(string Epoch, string Stream, string Entry)
{
    public override string ToString() => $"{Epoch}/{Stream}/{Entry}";

    /// <exception cref="ArgumentException">Not one of this queue's tokens.</exception>
    public static LeaseToken Of(Lease lease) => lease.Token.Split('/') is [var epoch, var stream, var entry]
        ? new LeaseToken(epoch, stream, entry)
        : throw new ArgumentException($"{lease.Token} is no lease of this queue", nameof(lease));
}
