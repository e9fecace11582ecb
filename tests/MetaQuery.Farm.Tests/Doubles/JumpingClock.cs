namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>The system's clock, which a test may set forward: what should have happened meanwhile is due at once.</summary>
internal sealed class JumpingClock : TimeProvider
{
    private long _ahead;

    public override long GetTimestamp() => System.GetTimestamp() + Interlocked.Read(ref _ahead);

    public override DateTimeOffset GetUtcNow() => System.GetUtcNow() + TimeSpan.FromSeconds((double)Interlocked.Read(ref _ahead) / TimestampFrequency);

    public void Jump(TimeSpan time) => Interlocked.Add(ref _ahead, (long)(time.TotalSeconds * TimestampFrequency));
}
