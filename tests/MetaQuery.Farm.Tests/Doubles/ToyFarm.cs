using System.Collections.Concurrent;

namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>A head with a queue in memory, on a data folder of its own; workers are the test's.</summary>
internal sealed class ToyFarm : IAsyncDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private ToyFarm(ToyModel model, MemoryWorkQueue queue, MemoryWorkerRegistry registry, FarmHead head) =>
        (Model, Queue, Registry, Head) = (model, queue, registry, head);

    public ToyModel Model { get; }
    public MemoryWorkQueue Queue { get; }
    public MemoryWorkerRegistry Registry { get; }
    public FarmHead Head { get; }

    /// <param name="dataFolder">The head's.</param>
    /// <param name="options">Its others.</param>
    /// <param name="model">Of the workers.</param>
    /// <param name="queueClock">Tells when leases end.</param>
    /// <param name="leaseFolder">Where the queue keeps its leases, if not in the head's folder.</param>
    public static async Task<ToyFarm> StartAsync(
        string dataFolder, HeadOptions? options = null, ToyModel? model = null, TimeProvider? queueClock = null, string? leaseFolder = null)
    {
        model ??= new ToyModel();
        TimeSpan lease = TimeSpan.FromSeconds(30);
        Directory.CreateDirectory(dataFolder);
        var queue = new MemoryWorkQueue(lease, queueClock, journalPath: Path.Combine(leaseFolder ?? dataFolder, "leases.journal"));
        var registry = new MemoryWorkerRegistry(lease);
        options = (options ?? new HeadOptions { DataFolder = dataFolder }) with { DataFolder = dataFolder, LookEvery = TimeSpan.FromMilliseconds(20) };
        try
        {
            return new ToyFarm(model, queue, registry, await FarmHead.StartAsync(model.Description, queue, registry, options, CancellationToken.None));
        }
        catch
        {
            queue.Dispose();
            throw;
        }
    }

    public ToyWorker Hire() => new(Model, Queue, Registry);

    public ToyWorker Hire(WorkRoles roles, ConcurrentDictionary<ConditionKey, bool> cache) => new(Model, Queue, Registry, cache, roles);

    public Task<JobView> SubmitAsync(IReadOnlyList<string> prompts, Func<JobSpec, JobSpec>? with = null, Func<JobSubmission, JobSubmission>? and = null)
    {
        var spec = new JobSpec { Prompts = prompts, OutFolder = "ignored", ImagesPerPrompt = 3, SamplesPerShard = 7, Seed = 5 };
        var submission = new JobSubmission { Spec = with?.Invoke(spec) ?? spec, Tenant = "toys" };
        return Head.SubmitAsync(and?.Invoke(submission) ?? submission, CancellationToken.None);
    }

    public Task<JobView> GetAsync(string id) => Head.GetAsync(new JobReference(id, null), CancellationToken.None);

    public Task<JobView> ApplyAsync(string id, JobCommand command) => Head.ApplyAsync(new JobReference(id, null), command, CancellationToken.None);

    /// <summary>Waits until a job is as it should be, and fails with the job as it is after a long time.</summary>
    public async Task<JobView> UntilAsync(string id, Func<JobView, bool> isSo)
    {
        long start = TimeProvider.System.GetTimestamp();
        while (true)
        {
            JobView job = await GetAsync(id);
            if (isSo(job))
            {
                return job;
            }

            Assert.True(TimeProvider.System.GetElapsedTime(start) < Patience, $"{job.State} {job.Reason} {job.Counts} {Head.Readiness.Reason}");
            await Task.Delay(5);
        }
    }

    public Task<JobView> UntilEndedAsync(string id) => UntilAsync(id, job => JobLifecycle.IsFinal(job.State));

    public async ValueTask DisposeAsync()
    {
        await Head.DisposeAsync();
        Queue.Dispose();
    }
}
