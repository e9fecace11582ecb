using Xunit.Abstractions;

namespace MetaQuery.Chaos.Tests;

/// <summary>Twenty faults, and five on a cluster; the long runs are ./farm chaos and ./farm chaos --silos 3.</summary>
public sealed class ShortRunTests(ITestOutputHelper output) : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-chaos-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task After_twenty_faults_every_image_is_there_once_and_every_byte_as_without_faults()
    {
        var log = new ChaosLog(Path.Combine(_folder, "faults.jsonl"), new Watcher(output));
        ChaosOutcome outcome = await ChaosSeries.ExecuteAsync(
            20,
            new ChaosOptions { Faults = 20, Seed = 20251122, Lease = TimeSpan.FromSeconds(2), Prompts = 4, Steps = 2 },
            Path.Combine(_folder, "run"),
            log,
            CancellationToken.None);
        Assert.Empty(outcome.Wrong);
        Assert.Equal(20, outcome.Faults.Count);
        Assert.All(outcome.Faults, fault => Assert.True(fault.InFlight > 0, $"nothing was in flight at fault {fault.Fault}"));
        Assert.Equal(7, outcome.Faults.GroupBy(fault => fault.Kind).Count(kind => kind.Count() >= 2));
        Assert.True(outcome.Reclaimed > 0, "no item was ever taken back: nobody noticed the faults");
        Assert.Equal(20, File.ReadLines(Path.Combine(_folder, "faults.jsonl")).Count());
    }

#if ORLEANS
    [Fact]
    public async Task After_five_faults_on_three_silos_every_image_is_there_once_and_every_byte_as_without_faults()
    {
        var log = new ChaosLog(Path.Combine(_folder, "faults.jsonl"), new Watcher(output));
        ChaosOutcome outcome = await ChaosSeries.ExecuteAsync(
            5,
            new ChaosOptions
            {
                Faults = 5,
                Kinds = [FaultKind.KillHead, FaultKind.KillWorker, FaultKind.Pause, FaultKind.FullDisk, FaultKind.DropConnections],
                Seed = 20261130,
                Silos = 3,
                Lease = TimeSpan.FromSeconds(2),
                Prompts = 4,
                Steps = 2,
            },
            Path.Combine(_folder, "run"),
            log,
            CancellationToken.None);
        Assert.Empty(outcome.Wrong);
        Assert.Equal(5, outcome.Faults.Select(fault => fault.Kind).Distinct().Count());
        Assert.All(outcome.Faults, fault => Assert.True(fault.InFlight > 0, $"nothing was in flight at fault {fault.Fault}"));
    }
#endif

    private sealed class Watcher(ITestOutputHelper output) : StringWriter
    {
        public override void WriteLine(string? value) => output.WriteLine(value);
    }
}
