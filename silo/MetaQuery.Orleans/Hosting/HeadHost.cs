using MetaQuery.Data;
using MetaQuery.Farm;
using Microsoft.Extensions.Logging;
using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>What a silo's head is made with.</summary>
/// <param name="Model">That jobs are for.</param>
/// <param name="Options">With the data folder.</param>
public sealed record HeadSettings(ModelDescription Model, HeadOptions Options);

/// <summary>This silo's place for the farm's head: takes the data folder, starts <see cref="FarmHead"/> on threads of its own, and tells the jobs' grains of it.</summary>
/// <remarks>
/// <see cref="HeadGrain"/> decides where the head is; the folder's lock and the head's name in Redis decide that it is one. A silo that takes over waits for the lock:
/// it is free as soon as the process before is dead.
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
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource<Exception> _broken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly AnswerBook<JobView> _submissions = new(AnswersKept);
    private Task? _running;
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

            _running ??= Task.Run(RunAsync);
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
    public FarmHead Require() => Volatile.Read(ref _head)?.Head ?? throw new GrainFaultException(GrainFault.Unavailable, _trouble ?? "the head is starting, or on another silo");

    /// <summary>Whether it runs here.</summary>
    public bool IsRunning => Volatile.Read(ref _head) is not null;

    /// <summary>What a job's grain is told of a job.</summary>
    public JobTicket TicketOf(JobView job) => new(
        job.Id, job.Tenant, job.Name, job.Priority, job.State, job.Counts.Prompts, job.Counts.Images, _silo, Volatile.Read(ref _head)?.Epoch ?? 0, job.CreatedAt);

    /// <summary>Takes a submission once for each ticket, and waits some seconds for what becomes of it.</summary>
    public async Task<SubmitAnswer> SubmitAsync(Guid ticket, JobSubmission submission, TenantRules? rules)
    {
        FarmHead head = Require();
        _tenants.Tell(submission.Tenant, rules);
        Task<JobView> answer = _submissions.Once(ticket, () => SubmitAsync(head, submission));
        await Task.WhenAny(answer, Task.Delay(SubmitPatience, _stop.Token));
        return new SubmitAnswer(answer.IsCompleted ? await answer : null);
    }

    public void Tell(string tenant, TenantRules? rules) => _tenants.Tell(tenant, rules);

    /// <summary>Lets the head go, for another silo to go on with: nothing is begun here any more.</summary>
    public async Task LeaveAsync()
    {
        Task? running;
        lock (_gate)
        {
            _isLeaving = true;
            running = _running;
        }

        await _stop.CancelAsync();
        if (running is not null)
        {
            await running;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await LeaveAsync();
        _stop.Dispose();
    }

    private async Task<JobView> SubmitAsync(FarmHead head, JobSubmission submission)
    {
        JobSubmission opened = Uploads.Open(submission);
        await using Stream? prompts = opened.Prompts;
        JobView job = await head.SubmitAsync(opened, CancellationToken.None);
        if (job.Kind == JobKind.DataSet) // the answer to a request dies with whoever waits for it
        {
            await _grains.GetGrain<IJobGrain>(job.Id).AdoptAsync(TicketOf(job));
        }

        return job;
    }

    private async Task RunAsync()
    {
        try
        {
            while (await TryStartAsync() is not { } running)
            {
                await Task.Delay(TryAgain, _stop.Token);
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            return; // it leaves before it had a head
        }
#pragma warning disable CA1031 // handed to whoever runs the silo
        catch (Exception exception)
#pragma warning restore CA1031
        {
            _trouble = exception.Message;
            _broken.TrySetResult(exception);
            return;
        }

        Running here = _head!;
        Started(_log, here.Epoch, _silo);
        Task told = TellAsync(here);
        Task ended = Task.Delay(Timeout.Infinite, _stop.Token);
        await Task.WhenAny(here.Head.Broken, ended);
        if (here.Head.Broken.IsCompleted)
        {
            _broken.TrySetResult(new HeadBrokenException(here.Head.Broken.Result));
        }

        await ended.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // a broken head answers what it knows until the process ends
        await told;
        Volatile.Write(ref _head, null);
        await here.DisposeAsync();
    }

    /// <returns>Null where something is in the way that may pass.</returns>
    private async Task<Running?> TryStartAsync()
    {
        (ModelDescription model, HeadOptions options) = _settings!;
        IWorkFeed? feed = null;
        try
        {
            DataFolder folder = DataFolder.Take(options.DataFolder);
            long epoch;
            try
            {
                epoch = HeadEpoch.Next(folder);
                feed = await _backbone.OpenFeedAsync(folder, _stop.Token);
            }
            catch
            {
                folder.Dispose();
                throw;
            }

            FarmHead head = await FarmHead.StartAsync(model, feed, _backbone.Registry, options, folder, _stop.Token); // gives the folder back where it fails
            var running = new Running(head, feed, epoch);
            feed = null;
            Volatile.Write(ref _head, running);
            _trouble = null;
            return running;
        }
        catch (Exception exception) when (exception is FarmException { IsTransient: true } or StorageException)
        {
            string line = exception.Message.ReplaceLineEndings(" ");
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

    private sealed record Running(FarmHead Head, IWorkFeed Feed, long Epoch) : IAsyncDisposable
    {
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
