using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Orleans.Tests.Doubles;
using MetaQuery.Silo;
using MetaQuery.TestKit;

namespace MetaQuery.Orleans.Tests;

/// <summary>A silo whose memory holds one half of its model at a time: <c>--memory-budget</c> with <c>--slots 2</c>.</summary>
public sealed class BudgetTests : IDisposable
{
    private const int Prompts = 24;
    private readonly Workspace _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task Two_slots_of_a_silo_that_holds_one_half_at_a_time_make_the_same_bytes_with_few_changes_of_halves()
    {
        string folder = _folder["tiny"];
        RandomModels.Write(folder, "tiny", "bfloat16", 0, static _ => { });
        string[] prompts = [.. Enumerable.Range(0, Prompts).Select(i => $"picture number {i}")];
        using (LocalModel whole = LocalModel.Load(folder, "float32"))
        {
            await new EmbeddedFarm(whole).RunAsync(
                new JobSpec { Prompts = prompts, NumInferenceSteps = 1, OutFolder = _folder["reference"] }, new FarmOptions { Slots = 2 }, progress: null, CancellationToken.None);
        }

        using LocalModel half = LocalModel.Load(folder, "float32", memoryBudgetBytes: MemoryNeed.Of(folder, "float32").Bytes - 1);
        Assert.True(half.HoldsOneHalf);
        using RealRedis redis = RealRedis.With();
        await using ToySilo silo = await ToySilo.StartAsync(redis, _folder["data"], slots: 2, model: half);
        await Until.Async(() => silo.Client.ListWorkersAsync(), workers => workers.Data.Count == 2, "two slots to join");
        Job job = await silo.Client.CreateJobAsync(new JobRequest { Prompts = prompts, Steps = 1 });
        Job ended = await Until.Async(() => silo.Client.GetJobAsync(job.Id), seen => seen.State is "completed" or "completed_with_errors" or "failed", "the end of the job");
        Assert.Equal(("completed", (long)Prompts), (ended.State, ended.Counts.Written));
        Assert.Equal(Workspace.HashOutput(_folder["reference"]), Workspace.HashOutput(Path.Combine(_folder["data"], "jobs", job.Id, "out")));

        // each slot takes turns by itself: in the worst case every batch of each, three of eight rows, meets the other half
        Assert.InRange(half.Loads.Text, 1, 6);
        Assert.InRange(half.Loads.Image, 1, 6);
    }
}
