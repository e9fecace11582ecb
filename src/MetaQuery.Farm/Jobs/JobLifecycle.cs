namespace MetaQuery.Farm;

/// <summary>What happens to a job by itself, as opposed to what is asked of it (<see cref="JobCommand"/>).</summary>
public enum JobSignal
{
    /// <summary>The prompt file is checked and counted.</summary>
    Planned,

    /// <summary>It got a lane: its items may be fed.</summary>
    Started,

    /// <summary>No live slot of its lane is left.</summary>
    WorkersGone,

    /// <summary>Every image is made or given up; what is left is to finish shards and manifest.</summary>
    Settled,

    /// <summary>The output is complete, and no image was given up.</summary>
    Finished,

    /// <summary>The output is complete but for the images that were given up.</summary>
    FinishedWithErrors,

    /// <summary>An error that is not one image's ended it.</summary>
    Failed,

    /// <summary>Its deadline has passed.</summary>
    DeadlinePassed,

    /// <summary>A head has started and found it in the journal.</summary>
    Restarted,
}

/// <summary>Which states a job goes through. The one table that all of the farm goes by; no clock, no thread, no file.</summary>
public static class JobLifecycle
{
    // The table's words beside the states. A row is a command or a signal, a column the state before it.
    private const int Stays = -1;
    private const int Refused = -2;
    private const int Gone = -3;
    private const int Planning = (int)JobState.Planning;
    private const int Queued = (int)JobState.Queued;
    private const int Running = (int)JobState.Running;
    private const int Paused = (int)JobState.Paused;
    private const int Finishing = (int)JobState.Finishing;
    private const int Completed = (int)JobState.Completed;
    private const int WithErrors = (int)JobState.CompletedWithErrors;
    private const int Cancelled = (int)JobState.Cancelled;
    private const int Failed = (int)JobState.Failed;

    private static readonly JobState[] Columns =
    [
        JobState.Planning, JobState.Queued, JobState.Running, JobState.Paused, JobState.Finishing,
        JobState.Completed, JobState.CompletedWithErrors, JobState.Cancelled, JobState.Failed,
    ];

    // What is asked twice changes nothing the second time, so that a client may ask again after an answer was lost.
    private static readonly Dictionary<JobCommand, int[]> Commands = new()
    {
        //                           Planning   Queued     Running    Paused     Finishing  Completed  WithErrors Cancelled  Failed
        [JobCommand.Pause] =        [Paused,    Paused,    Paused,    Stays,     Refused,   Refused,   Refused,   Refused,   Refused],
        [JobCommand.Resume] =       [Stays,     Stays,     Stays,     Queued,    Stays,     Refused,   Refused,   Refused,   Refused],
        [JobCommand.Cancel] =       [Cancelled, Cancelled, Cancelled, Cancelled, Cancelled, Refused,   Refused,   Stays,     Refused],
        [JobCommand.RetryFailed] =  [Refused,   Refused,   Refused,   Refused,   Refused,   Refused,   Queued,    Refused,   Queued],
        [JobCommand.Delete] =       [Refused,   Refused,   Refused,   Refused,   Refused,   Gone,      Gone,      Gone,      Gone],
    };

    // A word that comes late, after the job has ended, changes nothing. A job that was paused while it was planned, or resumed, is planned
    // all the same: Queued holds a job until its plan is there, too. Items that were out when a job was paused may be its last ones.
    private static readonly Dictionary<JobSignal, int[]> Signals = new()
    {
        //                                Planning   Queued     Running    Paused     Finishing   Completed  WithErrors Cancelled  Failed
        [JobSignal.Planned] =            [Queued,    Stays,     Refused,   Stays,     Refused,    Stays,     Stays,     Stays,     Stays],
        [JobSignal.Started] =            [Refused,   Running,   Stays,     Stays,     Stays,      Stays,     Stays,     Stays,     Stays],
        [JobSignal.WorkersGone] =        [Stays,     Stays,     Queued,    Stays,     Stays,      Stays,     Stays,     Stays,     Stays],
        [JobSignal.Settled] =            [Refused,   Finishing, Finishing, Finishing, Stays,      Stays,     Stays,     Stays,     Stays],
        [JobSignal.Finished] =           [Refused,   Refused,   Refused,   Refused,   Completed,  Stays,     Stays,     Stays,     Stays],
        [JobSignal.FinishedWithErrors] = [Refused,   Refused,   Refused,   Refused,   WithErrors, Stays,     Stays,     Stays,     Stays],
        [JobSignal.Failed] =             [Failed,    Failed,    Failed,    Failed,    Failed,     Stays,     Stays,     Stays,     Stays],
        [JobSignal.DeadlinePassed] =     [Cancelled, Cancelled, Cancelled, Cancelled, Stays,      Stays,     Stays,     Stays,     Stays],
        [JobSignal.Restarted] =          [Stays,     Stays,     Queued,    Stays,     Queued,     Stays,     Stays,     Stays,     Stays],
    };

    /// <summary>Where every job begins.</summary>
    public static JobState Initial => JobState.Planning;

    /// <summary>Whether a job in this state has ended: nothing happens to it by itself any more.</summary>
    public static bool IsFinal(JobState state) =>
        state is JobState.Completed or JobState.CompletedWithErrors or JobState.Cancelled or JobState.Failed;

    /// <summary>Whether a job in this state has its items fed.</summary>
    public static bool IsFed(JobState state) => state == JobState.Running;

    /// <summary>Whether a command is allowed, be it that it changes nothing.</summary>
    public static bool Allows(JobState state, JobCommand command) => Commands[command][Column(state)] != Refused;

    /// <summary>The state after a command; null where the job is then gone.</summary>
    /// <exception cref="JobStateException">The table refuses it; the message says what would be right.</exception>
    public static JobState? After(JobState state, JobCommand command) => Commands[command][Column(state)] switch
    {
        Stays => state,
        Gone => null,
        Refused => throw new JobStateException($"{Infinitive(command)} is not possible while the job is {NameOf(state)}{Advice(state, command)}"),
        int next => (JobState)next,
    };

    /// <summary>The state after a signal.</summary>
    /// <exception cref="InvalidOperationException">The signal cannot come in this state: an error of the caller's.</exception>
    public static JobState After(JobState state, JobSignal signal) => Signals[signal][Column(state)] switch
    {
        Stays => state,
        Refused => throw new InvalidOperationException($"the signal {signal} cannot come while a job is {NameOf(state)}"),
        int next => (JobState)next,
    };

    /// <summary>The state's name as files and the web API spell it: <c>completed_with_errors</c>. Frozen by a test.</summary>
    public static string NameOf(JobState state) => state switch
    {
        JobState.Planning => "planning",
        JobState.Queued => "queued",
        JobState.Running => "running",
        JobState.Paused => "paused",
        JobState.Finishing => "finishing",
        JobState.Completed => "completed",
        JobState.CompletedWithErrors => "completed_with_errors",
        JobState.Cancelled => "cancelled",
        JobState.Failed => "failed",
        _ => throw new ArgumentOutOfRangeException(nameof(state), state, "not a job's state"),
    };

    /// <summary>Reads <see cref="NameOf"/>'s form.</summary>
    public static bool TryParse(string name, out JobState state)
    {
        foreach (JobState candidate in Columns)
        {
            if (string.Equals(NameOf(candidate), name, StringComparison.Ordinal))
            {
                state = candidate;
                return true;
            }
        }

        state = default;
        return false;
    }

    private static int Column(JobState state)
    {
        int column = Array.IndexOf(Columns, state);
        return column >= 0 ? column : throw new ArgumentOutOfRangeException(nameof(state), state, "not a job's state");
    }

    private static string Infinitive(JobCommand command) => command switch
    {
        JobCommand.Pause => "to pause",
        JobCommand.Resume => "to resume",
        JobCommand.Cancel => "to cancel",
        JobCommand.RetryFailed => "to retry failed images",
        _ => "to delete",
    };

    private static string Advice(JobState state, JobCommand command) => (command, state) switch
    {
        (JobCommand.Pause, JobState.Finishing) => ": every image is settled",
        (JobCommand.Resume, JobState.CompletedWithErrors or JobState.Failed) => ": retry its failed images instead",
        (JobCommand.RetryFailed, JobState.Completed) => ": no image has failed",
        (JobCommand.RetryFailed, JobState.Cancelled) => ": submit it again",
        (JobCommand.RetryFailed, _) => ": wait until it has ended",
        (JobCommand.Delete, _) => ": cancel it first",
        _ => ": it has ended",
    };
}
