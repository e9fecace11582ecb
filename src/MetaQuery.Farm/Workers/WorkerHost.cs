using System.Runtime.ExceptionServices;
using System.Security.Cryptography;

namespace MetaQuery.Farm;

/// <summary>One worker process' part of a farm: joins, takes work from a queue into its slots, reports, and leaves.</summary>
/// <remarks>
/// The same everywhere: beside a head in one process, or on a machine of its own. A queue that cannot be reached is waited for; what was
/// finished meanwhile is reported then. Each slot is an OS thread with its own halves over the model's shared weights.
/// </remarks>
public sealed class WorkerHost : IDisposable
{
    private const int UsualWindow = 256; // prompts; a change of halves reads gigabytes

    private static readonly TimeSpan StopWithin = TimeSpan.FromSeconds(5);

    private readonly IFarmModel _model;
    private readonly IWorkQueue _queue;
    private readonly OtherWorkers _others;
    private readonly ConditionCache _cache;
    private readonly WorkerOptions _options;
    private readonly WorkDesk _desk;
    private readonly WorkerTally _tally;
    private readonly ReportSender _reports;
    private readonly LeaseKeeper _keeper;
    private readonly CancellationTokenSource _shut = new();
    private readonly CancellationTokenSource _giveUp = new();
    private IReadOnlyList<SlotLoop> _slots = [];
    private ExceptionDispatchInfo? _fault;
    private int _state = (int)WorkerState.Running;

    /// <param name="model">Loaded with the halves that the roles need.</param>
    /// <param name="queue">Where work comes from and results go.</param>
    /// <param name="registry">Whom to join.</param>
    /// <param name="cache">Of conditions; shared by the slots.</param>
    /// <param name="options">How to work.</param>
    /// <exception cref="JobSpecException">An option is out of range.</exception>
    public WorkerHost(IFarmModel model, IWorkQueue queue, IWorkerRegistry registry, ConditionCache cache, WorkerOptions options)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(queue);
        ArgumentNullException.ThrowIfNull(registry);
        ArgumentNullException.ThrowIfNull(cache);
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        if (model.HoldsOneHalf && options.Roles == WorkRoles.Both)
        {
            options = options with { EncodeWindow = options.EncodeWindow ?? UsualWindow };
        }

        (_model, _queue, _cache, _options) = (model, queue, cache, options);
        (ConditionIdentity conditions, ImageModelInfo images) = model.Description;
        Info = new WorkerInfo(
            NewId(), Environment.MachineName, Environment.ProcessId, options.Roles, options.Slots, options.Device, model.Description.Lane, conditions, images,
            options.Clock.GetUtcNow());
        _others = new OtherWorkers(registry, Info, options);
        _desk = new WorkDesk(options, images.DefaultBatchSize);
        _tally = new WorkerTally(options.Clock);
        _reports = new ReportSender(queue, Info.Id, _desk, _tally, options);
        _keeper = new LeaseKeeper(queue, registry, Info, _desk, _reports, _tally, options);
    }

    /// <summary>Who it is.</summary>
    public WorkerInfo Info { get; }

    /// <summary>What it does just now.</summary>
    public WorkerStatus Status
    {
        get
        {
            IReadOnlyList<SlotTimes> times = SlotTimes;
            (double images, double conditions, double busy) = _tally.Look(times.Aggregate(TimeSpan.Zero, (sum, slot) => sum + slot.Encoding + slot.Denoising));
            WorkerCounters counts = _tally.Counts;
            return new WorkerStatus(
                (WorkerState)Volatile.Read(ref _state), [.. _slots.Select(slot => slot.Clock.Status)], images, conditions, counts.Images, counts.Conditions,
                Math.Clamp(busy / _options.Slots, 0, 1), _cache.Counters)
            {
                RefusedReports = counts.RefusedReports,
                Trouble = _reports.Trouble ?? _desk.Trouble,
            };
        }
    }

    /// <summary>What it counted since it started.</summary>
    public WorkerCounters Counters => _tally.Counts;

    /// <summary>The slots' own clocks.</summary>
    public IReadOnlyList<SlotTimes> SlotTimes => [.. _slots.Select(slot => slot.Clock.Times)];

    /// <summary>Finishes what has begun, gives back the rest and leaves: <see cref="RunAsync"/> ends then.</summary>
    public void Drain() => Shut(stop: false);

    /// <summary>Works until it is drained or stopped. Once per instance.</summary>
    /// <param name="stop">Cancels what has begun, within one denoising step, and gives everything back.</param>
    /// <exception cref="ModelMismatchException">The head's jobs are for another model revision (the message has both), or the model does not give what it describes.</exception>
    /// <exception cref="FarmException">What else ended it.</exception>
    /// <exception cref="Data.StorageException">A disk takes nothing, and <see cref="WorkerOptions.EndsOnStorageFault"/> is set.</exception>
    public async Task RunAsync(CancellationToken stop)
    {
        using var finisher = new ResultFinisher(new SampleMaker(Info.Images), _reports, _tally, _options, _giveUp.Token);
        _slots = CreateSlots(finisher);
        try
        {
            using CancellationTokenRegistration stopping = stop.Register(() => Shut(stop: true));
            await JoinAsync();
            using IDisposable withdrawn = _queue.OnWithdrawn(_desk.Withdraw);
            await WorkAsync(finisher);
        }
        finally
        {
            await _keeper.LeaveAsync();
            Volatile.Write(ref _state, (int)WorkerState.Drained);
            foreach (SlotLoop slot in _slots)
            {
                slot.Dispose();
            }
        }

        _fault?.Throw();
    }

    public void Dispose()
    {
        _shut.Dispose();
        _giveUp.Dispose();
    }

    private static string NewId() =>
        $"{new string([.. Environment.MachineName.ToLowerInvariant().Select(letter => char.IsAsciiLetterOrDigit(letter) ? letter : '-')])}-{Environment.ProcessId}-{RandomNumberGenerator.GetString("abcdefghijklmnopqrstuvwxyz", 8)}";

    private async Task JoinAsync()
    {
        try
        {
            await _keeper.JoinAsync(_shut.Token);
        }
        catch (OperationCanceledException) when (_shut.IsCancellationRequested)
        {
            // drained or stopped before it began: the rest ends at once
        }
    }

    private async Task WorkAsync(ResultFinisher finisher)
    {
        SharedProcess process = _options.Process ?? new SharedProcess();
        var feeder = new WorkFeeder(_queue, Info, _cache, _desk, _reports, _tally, _options, process);
        process.Enter(_desk);
        using var end = new CancellationTokenSource();
        Task keeper = Guard(() => _keeper.RunAsync(() => Status, Drain, end.Token), end.Token);
        Task reports = Guard(() => _reports.RunAsync(_giveUp.Token), _giveUp.Token);
        Task[] feeding =
        [
            .. from role in new[] { WorkRoles.Mllm, WorkRoles.Dit }
               where _options.Roles.HasFlag(role)
               from interactiveOnly in new[] { false, true }
               select Guard(() => feeder.LeaseAsync(role, interactiveOnly, _shut.Token), _shut.Token),
            Guard(() => feeder.LookAgainAsync(_shut.Token), _shut.Token),
            Guard(() => feeder.RunAloneAsync(_shut.Token), _shut.Token),
        ];
        Task[] slots = [.. _slots.Select((slot, i) => Guard(() => OnThread($"slot {i}", slot.Run), _giveUp.Token))];
        Task[] finishing = [.. finisher.Bodies.Select((body, i) => Guard(() => OnThread($"finisher {i}", body), _giveUp.Token))];
        await Task.WhenAll(slots);
        await Task.WhenAll(feeding);
        process.Leave(_desk);
        finisher.Complete();
        await Task.WhenAll(finishing);
        _reports.Complete();
        await reports;
        await end.CancelAsync();
        await keeper;
    }

    private void Shut(bool stop)
    {
        Interlocked.CompareExchange(ref _state, (int)WorkerState.Draining, (int)WorkerState.Running);
        if (stop)
        {
            _giveUp.CancelAfter(StopWithin);
        }

        foreach (HeldItem item in _desk.Shut(stop))
        {
            _reports.Send(item, new ReturnedOutcome());
        }

        _shut.Cancel();
    }

    /// <summary>An error in any part ends all of them; <see cref="RunAsync"/> throws it.</summary>
    private async Task Guard(Func<Task> part, CancellationToken ending)
    {
        try
        {
            await Task.Run(part, CancellationToken.None);
        }
        catch (OperationCanceledException) when (ending.IsCancellationRequested)
        {
            // the part was told to end
        }
#pragma warning disable CA1031 // rethrown by RunAsync
        catch (Exception exception)
#pragma warning restore CA1031
        {
            Interlocked.CompareExchange(ref _fault, ExceptionDispatchInfo.Capture(exception), null);
            Shut(stop: true);
        }
    }

    private static Task OnThread(string name, Action body)
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        new Thread(() =>
        {
            try
            {
                body();
                ended.SetResult();
            }
#pragma warning disable CA1031 // handed to whoever waits for the thread
            catch (Exception exception)
#pragma warning restore CA1031
            {
                ended.SetException(exception);
            }
        })
        { Name = name, IsBackground = true }.Start();
        return ended.Task;
    }

    private List<SlotLoop> CreateSlots(ResultFinisher finisher)
    {
        var slots = new List<SlotLoop>();
        try
        {
            for (int i = 0; i < _options.Slots; i++)
            {
                IConditionEncoder? encoder = _options.Roles.HasFlag(WorkRoles.Mllm) ? _model.CreateEncoder(_options.Pictures) : null;
                IImageDenoiser? denoiser = _options.Roles.HasFlag(WorkRoles.Dit) ? _model.CreateDenoiser() : null;
                slots.Add(new SlotLoop(encoder, denoiser, _cache, _desk, finisher, _reports, _tally, _options, _others));
                if ((encoder is not null && encoder.Identity != Info.Conditions) || (denoiser is not null && denoiser.Info != Info.Images))
                {
                    throw new ModelMismatchException(
                        $"a slot has {encoder?.Identity.ModelRevision ?? denoiser?.Info.ModelRevision} with {denoiser?.Info.Numerics.ToString() ?? encoder?.Identity.Numerics}, its worker {Info.Images.ModelRevision} with {Info.Images.Numerics}");
                }
            }

            return slots;
        }
        catch
        {
            slots.ForEach(slot => slot.Dispose());
            throw;
        }
    }
}
