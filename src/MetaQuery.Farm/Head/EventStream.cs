using System.Runtime.CompilerServices;

namespace MetaQuery.Farm;

/// <summary>A job's events: numbered, the latest ones kept, any number of watchers. Thread-safe.</summary>
/// <remarks>A watcher holds no queue of its own: who falls behind what is kept, or names an event that is not known here, gets a snapshot.</remarks>
/// <param name="epoch">Tells this process' numbers from those of a head before it.</param>
/// <param name="view">The job as it stands now.</param>
internal sealed class EventStream(string epoch, Func<JobView> view)
{
    private const int Kept = 256;

    private readonly Lock _gate = new();
    private readonly JobEvent?[] _ring = new JobEvent?[Kept];
    private long _next = 1; // 0 is the number of a snapshot before anything happened
    private bool _ended;
    private TaskCompletionSource _changed = New();

    /// <summary>Whether somebody listens: otherwise no event needs to be made.</summary>
    public int Watchers { get; private set; }

    public void Publish(string type, JobView job, IReadOnlyList<long> samples, bool isLast)
    {
        TaskCompletionSource changed;
        lock (_gate)
        {
            _ring[_next % Kept] = new JobEvent(IdOf(_next), type, job, samples);
            _next++;
            _ended |= isLast;
            changed = _changed;
            _changed = New();
        }

        changed.SetResult();
    }

    /// <summary>The job goes on after all: it was resumed or retried.</summary>
    public void Reopen()
    {
        lock (_gate)
        {
            _ended = false;
        }
    }

    /// <summary>Ends all watchers, without an event.</summary>
    public void End()
    {
        TaskCompletionSource changed;
        lock (_gate)
        {
            _ended = true;
            changed = _changed;
            _changed = New();
        }

        changed.SetResult();
    }

    public async IAsyncEnumerable<JobEvent> WatchAsync(string? lastEventId, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        long seen = NumberOf(lastEventId);
        lock (_gate)
        {
            Watchers++;
        }

        try
        {
            while (true)
            {
                List<JobEvent> batch = [];
                Task changed;
                bool ended;
                lock (_gate)
                {
                    changed = _changed.Task;
                    ended = _ended;
                    if (seen < 0 || seen >= _next || _next - seen > Kept)
                    {
                        seen = _next - 1;
                        batch.Add(new JobEvent(IdOf(seen), "snapshot", view(), []));
                    }

                    for (long number = seen + 1; number < _next; number++)
                    {
                        batch.Add(_ring[number % Kept]!);
                    }

                    seen = _next - 1;
                }

                foreach (JobEvent happened in batch)
                {
                    yield return happened;
                }

                if (ended)
                {
                    yield break;
                }

                await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
            }
        }
        finally
        {
            lock (_gate)
            {
                Watchers--;
            }
        }
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    private string IdOf(long number) => $"{epoch}-{number}";

    private long NumberOf(string? id) =>
        id is not null && id.StartsWith(epoch + "-", StringComparison.Ordinal) && long.TryParse(id.AsSpan(epoch.Length + 1), out long number) ? number : -1;
}
