using FsCheck.Xunit;

namespace MetaQuery.Chaos.Tests;

public sealed class FaultPlanTests
{
    [Property(MaxTest = 300)]
    public void Each_kind_is_at_least_a_tenth_whatever_the_seed(int seed, byte more)
    {
        int faults = FaultPlan.Fewest + more;
        IReadOnlyList<PlannedFault> plan = FaultPlan.Create(seed, faults);
        Assert.Equal(Enumerable.Range(1, faults), plan.Select(fault => fault.Number));
        foreach (FaultKind kind in Enum.GetValues<FaultKind>())
        {
            Assert.True(plan.Count(fault => fault.Kind == kind) * 10 >= faults, $"{kind}: {plan.Count(fault => fault.Kind == kind)} of {faults}");
        }
    }

    [Property(MaxTest = 100)]
    public void The_same_seed_gives_the_same_faults(int seed) => Assert.Equal(FaultPlan.Create(seed, 40), FaultPlan.Create(seed, 40));

    [Fact]
    public void Another_seed_gives_other_faults() => Assert.Equal(50, Enumerable.Range(0, 50).Select(seed => string.Join('\n', FaultPlan.Create(seed, 20))).Distinct().Count());

    [Property(MaxTest = 100)]
    public void A_plan_of_a_few_kinds_has_each_of_them_and_no_other(int seed)
    {
        FaultKind[] kinds = [FaultKind.KillHead, FaultKind.Pause, FaultKind.FullDisk];
        Assert.Equal(kinds, FaultPlan.Create(seed, 5, kinds).Select(fault => fault.Kind).Distinct().Order());
        Assert.Throws<ArgumentOutOfRangeException>(() => FaultPlan.Create(seed, 2, kinds));
    }

    [Property(MaxTest = 100)]
    public void A_fault_hits_what_its_kind_can_hit(int seed)
    {
        foreach (PlannedFault fault in FaultPlan.Create(seed, 60))
        {
            Assert.InRange(fault.AfterImages, 1, 6);
            Assert.InRange(fault.Share, 0, 1);
            Assert.True(!fault.IsSilent || fault.Kind == FaultKind.DropConnections);
            FaultTarget[] workers = [FaultTarget.FirstWorker, FaultTarget.SecondWorker];
            Assert.Contains(fault.Target, fault.Kind switch
            {
                FaultKind.KillWorker => workers,
                FaultKind.KillHead => [FaultTarget.Head],
                FaultKind.KillRedis => [FaultTarget.Redis],
                FaultKind.Pause => [.. workers, FaultTarget.Head, FaultTarget.Redis],
                FaultKind.DropConnections => [.. workers, FaultTarget.Head, FaultTarget.Everyone],
                _ => [FaultTarget.Everyone],
            });
        }
    }

    [Fact]
    public void Names_of_faults_are_frozen() => Assert.Equal(
        ["kill-worker", "kill-head", "kill-redis", "pause", "full-disk", "slow-disk", "drop-connections"], Enum.GetValues<FaultKind>().Select(FaultPlan.NameOf));
}
