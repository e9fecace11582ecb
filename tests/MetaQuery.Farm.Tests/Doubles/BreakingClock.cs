namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>The system's clock, until the test breaks it: an error that a head does not expect.</summary>
internal sealed class BreakingClock : TimeProvider
{
    private volatile bool _isBroken;

    public void Break() => _isBroken = true;

    public override DateTimeOffset GetUtcNow() => _isBroken ? throw new InvalidOperationException("the clock is broken") : base.GetUtcNow();
}
