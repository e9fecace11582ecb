using MetaQuery.Client;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Redis;
using MetaQuery.TestKit;

namespace MetaQuery.Orleans.Tests.Doubles;

/// <summary>Three silos with all roles and two slots each, their Redis, and a client of the grains.</summary>
public sealed class Cluster : IAsyncLifetime
{
    private readonly Workspace _folder = new();
    private readonly RealRedis _redis = RealRedis.With();
    private readonly ManualResetEventSlim _gate = new(initialState: true);
    private readonly List<ToySilo> _silos = [];
    private ClusterConnection? _connection;

    /// <summary>Of requests without a key.</summary>
    public static string Tenant => "local";

    internal IReadOnlyList<ToySilo> Silos => _silos;

    internal string Data => _folder["data"];

    internal IGrainFactory Grains => _connection!.Grains;

    public async Task InitializeAsync()
    {
        var model = new ToyModel { ReadsPictures = true, BeforeDenoise = (_, stop) => _gate.Wait(stop) };
        for (int i = 0; i < 3; i++)
        {
            _silos.Add(await ToySilo.StartAsync(_redis, Data, slots: 2, model: model));
        }

        _connection = await ClusterConnection.OpenAsync(RedisOptions.Parse(_redis.Address), CancellationToken.None);
        await Until.Async(() => _silos[0].Client.ListWorkersAsync(), workers => workers.Data.Count == 6, "six slots to join");
    }

    public async Task DisposeAsync()
    {
        _gate.Set();
        await _connection!.DisposeAsync();
        foreach (ToySilo silo in _silos)
        {
            await silo.DisposeAsync();
        }

        _redis.Dispose();
        _folder.Dispose();
        _gate.Dispose();
    }

    internal Task<Job> EndOfAsync(string job) => Until.Async(
        () => _silos[0].Client.GetJobAsync(job), seen => seen.State is "completed" or "completed_with_errors" or "failed" or "cancelled", $"the end of job {job}");

    /// <summary>The id of the silo that holds the head.</summary>
    internal async Task<string> HeadAsync() => (await Until.Async(() => Grains.GetGrain<IHeadGrain>(0).EnsureAsync(), standing => standing.IsRunning, "a head")).Silo;

    internal async Task<ToySilo> NotTheHeadAsync()
    {
        string head = await HeadAsync();
        return _silos.First(silo => silo.Id != head);
    }

    /// <summary>A job whose pictures are not made before it is let go.</summary>
    internal async Task<RunningJob> HoldAsync(JobRequest? request = null)
    {
        _gate.Reset();
        Job job = await _silos[0].Client.CreateJobAsync(request ?? new JobRequest { Prompts = ["held"], ImagesPerPrompt = 4 });
        await Until.Async(() => _silos[0].Client.GetJobAsync(job.Id), seen => seen.State == "running", "the job to run");
        return new RunningJob(job.Id, _gate);
    }

    internal string[] KeysOf(string job, string kind) => [.. _redis.Keys().Where(key => key.Contains(job, StringComparison.Ordinal) && key.Contains(kind, StringComparison.Ordinal))];

    /// <summary>Whether the table of reminders has an entry of a job.</summary>
    internal bool HasReminder(string job) => _redis.Keys("*reminders*")
        .SelectMany(table => (object?[])_redis.Command("ZRANGE", table, "0", "-1")!)
        .Any(entry => ((string)entry!).Contains(job, StringComparison.Ordinal));
}

/// <summary>See <see cref="Cluster.HoldAsync"/>.</summary>
internal sealed class RunningJob(string id, ManualResetEventSlim gate) : IDisposable
{
    public string Id { get; } = id;

    public void LetGo() => gate.Set();

    public void Dispose() => gate.Set();
}
