using System.Runtime.CompilerServices;
using MetaQuery.Farm;
using Orleans.Concurrency;
using Orleans.Placement;
using Orleans.Runtime;
using Orleans.Timers;

namespace MetaQuery.Orleans;

/// <summary>A job's shell: remembers in the cluster's storage that the job must go on, and asks the head beside it for everything else.</summary>
/// <remarks>
/// The job's truth is the head's journal. What this grain adds: while the job has not ended its reminder fires each minute, on whatever silo is alive, and a head is
/// started where none runs. Where it is asked on a silo that has not the head, it moves to the head's silo. A ticket of a job that has ended is removed: storage holds unfinished jobs alone.
/// </remarks>
[HeadPlacement]
[Immovable(ImmovableKind.Any)]
[Reentrant]
internal sealed class JobGrain(
    [PersistentState("job", FarmStorage.Name)] IPersistentState<JobGrainState> state, HeadHost heads, IReminderRegistry reminders, MembershipTimes times) : Grain, IJobGrain, IRemindable
{
    private const string ReminderName = "go-on";

    private readonly SemaphoreSlim _writing = new(1, 1);
    private bool _hasReminder;

    private string Id => this.GetPrimaryKeyString();

    public Task AdoptAsync(JobTicket ticket) => WriteAsync(async () =>
    {
        JobTicket next = JobTicketRules.After(state.State.Ticket, ticket);
        if (!JobTicketRules.NeedsReminder(next))
        {
            await ClearAsync();
            return;
        }

        if (!_hasReminder) // first: a silo that dies in between leaves no ticket that nothing would ever look at
        {
            await reminders.RegisterOrUpdateReminder(GrainContext.GrainId, ReminderName, times.Reminder, times.Reminder);
            _hasReminder = true;
        }

        if (next != state.State.Ticket)
        {
            await state.ReplaceAsync(new JobGrainState { Ticket = next });
        }
    });

    public Task ForgetAsync() => WriteAsync(ClearAsync);

    public Task<JobTicket?> GetTicketAsync() => Task.FromResult(state.State.Ticket);

    /// <summary>The job goes on though its silo is dead: whatever silo this fires on asks for a head. Where the job has ended and nobody said so, its ticket goes.</summary>
    public async Task ReceiveReminder(string reminderName, TickStatus status)
    {
        _hasReminder = true;
        if (!heads.IsRunning)
        {
            await GrainFactory.GetGrain<IHeadGrain>(0).EnsureAsync();
            MigrateOnIdle(); // to the head, so that the next one finds it: the head before may have died with the word that the job has ended
            return;
        }

        try
        {
            await AdoptAsync(heads.TicketOf(await heads.Require().GetAsync(new JobReference(Id, Tenant: null), CancellationToken.None)));
        }
        catch (JobNotFoundException)
        {
            await ForgetAsync();
        }
    }

    public Task<JobView> GetAsync(string? tenant) => Ask(head => head.GetAsync(Reference(tenant), CancellationToken.None));

    public async Task<JobView> ApplyAsync(Guid call, string? tenant, JobCommand command)
    {
        JobView job = await Ask(head => heads.Commands.Once(call, () => head.ApplyAsync(Reference(tenant), command, CancellationToken.None)));
        if (command == JobCommand.Delete)
        {
            await ForgetAsync();
        }

        return job;
    }

    public async IAsyncEnumerable<JobEvent> WatchAsync(string? tenant, string? lastEventId, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        FarmHead asked = await Ask(Task.FromResult);
        IAsyncEnumerator<JobEvent> events = asked.WatchAsync(Reference(tenant), lastEventId, cancellationToken).GetAsyncEnumerator(cancellationToken);
        await using (events)
        {
            while (await NextAsync(events))
            {
                yield return events.Current;
            }
        }

        if (!heads.Has(asked))
        {
            throw new GrainFaultException(GrainFault.Unavailable, "the head has left this silo"); // its events ended, not the job
        }
    }

    public Task<SamplePage> ListSamplesAsync(string? tenant, long fromPosition, int most) =>
        Ask(head => head.ListSamplesAsync(Reference(tenant), fromPosition, most, CancellationToken.None));

    public Task<SampleContent> ReadSampleAsync(string? tenant, long position) =>
        Ask(head => head.ReadSampleAsync(Reference(tenant), position, CancellationToken.None));

    public Task<FailedSample[]> ListFailuresAsync(string? tenant, int most) =>
        Ask(async head => (FailedSample[])[.. await head.ListFailuresAsync(Reference(tenant), most, CancellationToken.None)]);

    public Task<JobFile[]> ListFilesAsync(string? tenant) =>
        Ask(async head => (JobFile[])[.. await head.ListFilesAsync(Reference(tenant), CancellationToken.None)]);

    private JobReference Reference(string? tenant) => new(Id, tenant);

    private async Task<T> Ask<T>(Func<FarmHead, Task<T>> question)
    {
        FarmHead head;
        try
        {
            head = heads.Require();
        }
        catch (GrainFaultException)
        {
            MigrateOnIdle(); // the head is on another silo: so should this be; were it only given up, who remembers it here would have it made here again
            throw;
        }

        return await question(head);
    }

    // an enumerator's exceptions pass no filter of calls
    private static async Task<bool> NextAsync(IAsyncEnumerator<JobEvent> events)
    {
        try
        {
            return await events.MoveNextAsync();
        }
        catch (Exception exception) when (GrainFaultException.Of(exception) is { } fault)
        {
            throw fault;
        }
    }

    private async Task ClearAsync()
    {
        await state.ReadStateAsync(); // a write whose answer was lost may have left more than is known here
        if (state.RecordExists)
        {
            await state.ClearStateAsync();
        }

        state.State.Ticket = null;
        if (await reminders.GetReminder(GrainContext.GrainId, ReminderName) is { } known)
        {
            await reminders.UnregisterReminder(GrainContext.GrainId, known);
        }

        _hasReminder = false;
    }

    private async Task WriteAsync(Func<Task> write)
    {
        await _writing.WaitAsync();
        try
        {
            await write();
        }
        finally
        {
            _writing.Release();
        }
    }
}
