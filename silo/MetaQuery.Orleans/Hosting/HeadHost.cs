using System.Collections.Concurrent;
using MetaQuery.Data;
using MetaQuery.Farm;
using Microsoft.Extensions.Logging;
using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>What a silo's head is made with.</summary>
/// <param name="Model">That jobs are for.</param>
/// <param name="Options">With the data folder.</param>
/// <param name="IsAlone">No other silo can hold the data folder for a while: who does is in the way for good.</param>
public sealed record HeadSettings(ModelDescription Model, HeadOptions Options, bool IsAlone = false);

/// <summary>This silo's place for the farm's head: takes the data folder, starts <see cref="FarmHead"/> on threads of its own, and tells the jobs' grains of it.</summary>
/// <remarks>
/// <see cref="HeadGrain"/> decides where the head is; the folder's lock and the head's name in Redis decide that it is one. A silo that takes over waits for the lock:
/// it is free as soon as the process before is dead. Where <see cref="HeadGrain"/> comes up on another silo though this one lives, <see cref="HeadKeeper"/> hears of it
/// and the head is let go; it may come back later: each time that it is here is a run of its own.
/// </remarks>
internal sealed partial class HeadHost : IAsyncDisposable
{
    private const int AnswersKept = 4096;
    private static readonly TimeSpan TryAgain = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan SubmitPatience = TimeSpan.FromSeconds(5); // well below Orleans' time-out

    private readonly HeadSettings? _settings;
    private readonly IFarmBackbone _backbone;
    private readonly ClusterTenants _tenants;
    private readonly string _silo;
    private readonly IGrainFactory _grains;
    private readonly ILogger<HeadHost> _log;
    private readonly Lock _gate = new();
    private readonly TaskCompletionSource<Exception> _broken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly AnswerBook<JobView> _submissions = new(AnswersKept);
    private HeadRun? _run; // one at a time: the next begins when this one has given everything back
    private Running? _head;
    private string? _trouble;
    private bool _isLeaving;

    /// <param name="settings">Null where the silo has not the role.</param>
    public HeadHost(HeadSettings? settings, IFarmBackbone backbone, ClusterTenants tenants, ILocalSiloDetails silo, IGrainFactory grains, ILogger<HeadHost> log)
    {
        (_settings, _backbone, _tenants, _grains, _log) = (settings, backbone, tenants, grains, log);
        _silo = silo.SiloAddress.ToParsableString();
    }

    /// <summary>Completes with an error that the head cannot go on from: the process should end by it, and another silo goes on.</summary>
    public Task<Exception> Broken => _broken.Task;

    /// <summary>Answers of commands, by the call's own name.</summary>
    public AnswerBook<JobView> Commands { get; } = new(AnswersKept);

    /// <summary>Begins what is needed for the head to run here; returns at once.</summary>
    /// <exception cref="GrainFaultException">It cannot be here.</exception>
    public HeadStanding Ensure()
    {
        lock (_gate)
        {
            if (_settings is null || _isLeaving)
            {
                throw new GrainFaultException(GrainFault.Unavailable, $"silo {_silo} {(_settings is null ? "has not the role head" : "is leaving")}");
            }

            _run ??= Begin();
            if (_run.Stop.IsCancellationRequested)
            {
                return new HeadStanding(_silo, IsRunning: false, IsReady: false, "the head is being let go on this silo", 0);
            }

            if (_head is not { } running)
            {
                return new HeadStanding(_silo, IsRunning: false, IsReady: false, _trouble ?? "the head is starting", 0);
            }

            FarmReadiness readiness = running.Head.Readiness;
            return new HeadStanding(_silo, IsRunning: true, readiness.IsReady, readiness.Reason, running.Epoch);
        }
    }

    /// <summary>The head, where it runs here.</summary>
    /// <exception cref="GrainFaultException">It is elsewhere, or not yet there.</exception>
    public FarmHead Require() => Volatile.Read(ref _head)?.Head ?? throw Absent();

    /// <summary>Whether it runs here.</summary>
    public bool IsRunning => Volatile.Read(ref _head) is not null;

    /// <summary>Whether this head still runs here.</summary>
    public bool Has(FarmHead head) => Volatile.Read(ref _head)?.Head == head;

    /// <summary>What a job's grain is told of a job.</summary>
    public JobTicket TicketOf(JobView job) => TicketOf(job, Volatile.Read(ref _head)?.Epoch ?? 0);

    /// <summary>Takes a submission once for each ticket, and waits some seconds for what becomes of it.</summary>
    public async Task<SubmitAnswer> SubmitAsync(Guid ticket, JobSubmission submission, TenantRules? rules)
    {
        Running here = Volatile.Read(ref _head) ?? throw Absent();
        _tenants.Tell(submission.Tenant, rules);
        Task<JobView> answer = _submissions.Once(ticket, () => SubmitAsync(here, submission));
        await Task.WhenAny(answer, Task.Delay(SubmitPatience, here.Stop)); // let go meanwhile: pending, and the next head is asked
        return new SubmitAnswer(answer.IsCompleted ? await answer : null);
    }

    public void Tell(string tenant, TenantRules? rules) => _tenants.Tell(tenant, rules);

    /// <summary>Lets the head go, for another silo to go on with: nothing is begun here any more.</summary>
    public async Task LeaveAsync()
    {
        lock (_gate)
        {
            _isLeaving = true;
        }

        await LetGoAsync();
    }

    /// <summary>Takes down where the head stands, as its grain says: where that is another silo, what runs or waits here lets the folder go, or the other waits for it for ever.</summary>
    public Task HearAsync(HeadStanding standing) => HeadRule.IsReplaced(_silo, Volatile.Read(ref _head)?.Epoch ?? 0, standing) ? LetGoAsync() : Task.CompletedTask;

    public async ValueTask DisposeAsync() => await LeaveAsync();

    private GrainFaultException Absent() => new(GrainFault.Unavailable, _trouble ?? "the head is starting, or on another silo");

    private JobTicket TicketOf(JobView job, long epoch) => new(
        job.Id, job.Tenant, job.Name, job.Priority, job.State, job.Counts.Prompts, job.Counts.Images, _silo, epoch, job.CreatedAt);

    private HeadRun Begin()
    {
        var stop = new CancellationTokenSource(); // never disposed: it has no timer, and may be cancelled after its run has ended
        return new HeadRun(stop, Task.Run(() => RunAsync(stop.Token))); // its end takes the gate, and so comes after this is written down
    }

    /// <summary>Stops the head that runs or waits here, and gives the folder back; nothing where there is none.</summary>
    private async Task LetGoAsync()
    {
        if (Volatile.Read(ref _run) is { } run)
        {
            await run.Stop.CancelAsync();
            await run.Ended;
        }
    }

    private async Task<JobView> SubmitAsync(Running here, JobSubmission submission)
    {
        JobSubmission opened = Uploads.Open(submission, _settings!.Options.DataFolder);
        await using Stream? prompts = opened.Prompts;
        JobView job = await here.Head.SubmitAsync(opened, CancellationToken.None);
        if (job.Kind == JobKind.DataSet) // the answer to a request dies with whoever waits for it
        {
            await TellOfSubmissionAsync(here, job);
        }

        return job;
    }

    private async Task RunAsync(CancellationToken stop)
    {
        try
        {
            if (await StartAsync(stop) is { } here)
            {
                await ServeAsync(here);
            }
        }
#pragma warning disable CA1031 // handed to whoever runs the silo
        catch (Exception exception)
#pragma warning restore CA1031
        {
            _trouble = exception.Message;
            _broken.TrySetResult(exception);
            return; // no other run begins here: the process should end
        }

        lock (_gate)
        {
            (_run, _trouble) = (null, null);
        }
    }

    /// <returns>Null where it is let go before it had a head.</returns>
    private async Task<Running?> StartAsync(CancellationToken stop)
    {
        try
        {
            while (true)
            {
                if (await TryStartAsync(stop) is { } running)
                {
                    return running;
                }

                await Task.Delay(TryAgain, stop);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            return null;
        }
    }

    private async Task ServeAsync(Running here)
    {
        Started(_log, here.Epoch, _silo);
        Task told = Task.WhenAll(TellAsync(here), SweepAsync(here.Stop));
        Task ended = Task.Delay(Timeout.Infinite, here.Stop);
        await Task.WhenAny(here.Head.Broken, ended);
        if (here.Head.Broken.IsCompleted)
        {
            _broken.TrySetResult(new HeadBrokenException(here.Head.Broken.Result));
        }

        await ended.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // a broken head answers what it knows until the process ends
        Volatile.Write(ref _head, null);
        try
        {
            await told;
        }
        finally
        {
            await here.DisposeAsync();
        }

        LetGo(_log, here.Epoch, _silo);
    }

    /// <returns>Null where something is in the way that may pass.</returns>
    private async Task<Running?> TryStartAsync(CancellationToken stop)
    {
        (ModelDescription model, HeadOptions options, bool isAlone) = _settings!;
        IWorkFeed? feed = null;
        try
        {
            DataFolder folder = DataFolder.Take(options.DataFolder);
            long epoch;
            try
            {
                feed = await _backbone.OpenFeedAsync(folder, stop); // first: a folder that is not the farm's is left as it is
                epoch = HeadEpoch.Next(folder);
            }
            catch
            {
                folder.Dispose();
                throw;
            }

            FarmHead head = await FarmHead.StartAsync(model, feed, _backbone.Registry, options, folder, stop); // gives the folder back where it fails
            var running = new Running(head, feed, epoch, stop);
            feed = null;
            Volatile.Write(ref _head, running);
            _trouble = null;
            return running;
        }
        catch (Exception exception) when ((exception is FarmException { IsTransient: true } or StorageException) && !(isAlone && exception is DataFolderInUseException))
        {
            string line = exception is DataFolderInUseException
                ? $"another process holds {options.DataFolder}, which is free as soon as that process ends: a silo that stands still, or another head (fuser {options.DataFolder}/lock names it)"
                : exception.Message.ReplaceLineEndings(" ");
            if (_trouble != line)
            {
                Waits(_log, line);
            }

            _trouble = line;
            return null;
        }
        finally
        {
            if (feed is IAsyncDisposable opened)
            {
                await opened.DisposeAsync();
            }
        }
    }

    [LoggerMessage(1, LogLevel.Information, "head {Epoch} runs on silo {Silo}")]
    private static partial void Started(ILogger log, long epoch, string silo);

    [LoggerMessage(2, LogLevel.Warning, "the head cannot start yet: {Reason}")]
    private static partial void Waits(ILogger log, string reason);

    [LoggerMessage(4, LogLevel.Information, "head {Epoch} is let go by silo {Silo}")]
    private static partial void LetGo(ILogger log, long epoch, string silo);

    private sealed record HeadRun(CancellationTokenSource Stop, Task Ended);

    private sealed record Running(FarmHead Head, IWorkFeed Feed, long Epoch, CancellationToken Stop) : IAsyncDisposable
    {
        /// <summary>Jobs that <see cref="TellAsync(Running)"/> has not heard of, and what their grains were told as they were submitted; null where that is not known.</summary>
        public ConcurrentQueue<(string Id, JobState? Told)> Submitted { get; } = new();

        public async ValueTask DisposeAsync()
        {
            await Head.DisposeAsync();
            if (Feed is IAsyncDisposable feed)
            {
                await feed.DisposeAsync();
            }
        }
    }
}
