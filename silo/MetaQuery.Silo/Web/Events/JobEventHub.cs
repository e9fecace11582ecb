using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Threading.Channels;
using MetaQuery.Client;
using MetaQuery.Farm;
using FarmEvent = MetaQuery.Farm.JobEvent;

namespace MetaQuery.Silo.Web;

/// <summary>One event as it goes to every client, written once.</summary>
internal sealed record EventFrame(long Sequence, string Id, ReadOnlyMemory<byte> Bytes);

/// <summary>One job's events for all who watch it: read once from the farm, coalesced, serialised once, kept for those who come back.</summary>
/// <param name="resumedFrom">The event after which the farm's events begin; null where they begin with a snapshot.</param>
internal sealed class JobEventHub(string? resumedFrom)
{
    private const int KeptFrames = 128;
    private const int MostSamples = 256;
    private const int RecentSamples = 64; // of a snapshot, so that a gallery begins with something
    private const int MostBehind = 10; // further behind, a snapshot is shorter than what was missed

    private readonly Lock _lock = new();
    private readonly Queue<EventFrame> _frames = new();
    private TaskCompletionSource _changed = NewSignal();
    private readonly Queue<long> _recent = new();
    private JobView? _latest;
    private EventFrame? _snapshot;
    private long _sequence;
    private bool _hasEnded;

    /// <summary>Set while the hub is in use or may be again; see <see cref="EventHubs"/>.</summary>
    public int Watchers { get; set; }

    /// <summary>The id of a job's last event: whoever has it needs nothing more.</summary>
    public static string FinalId(JobView job) => string.Create(CultureInfo.InvariantCulture, $"end-{job.FinishedAt?.ToUnixTimeMilliseconds() ?? 0}");

    /// <summary>Reads the farm's events until the job ends.</summary>
    public async Task RunAsync(IFarm farm, JobReference job, TimeSpan interval, TimeProvider time, CancellationToken stop)
    {
        var channel = Channel.CreateUnbounded<FarmEvent>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        Task reading = ReadAsync(farm, job, resumedFrom, channel.Writer, stop);
        try
        {
            if (resumedFrom is not null)
            {
                // the farm says only what its first watcher missed: who comes without an id needs a snapshot
                await SeedAsync(farm, job, stop);
            }

            while (await channel.Reader.WaitToReadAsync(stop))
            {
                var merged = new Merged();
                while (channel.Reader.TryRead(out FarmEvent? happened))
                {
                    merged.Add(happened);
                }

                Publish(merged);
                if (!channel.Reader.Completion.IsCompleted)
                {
                    await Task.Delay(interval, time, stop);
                }
            }
        }
        finally
        {
            End();
            await reading;
        }
    }

    /// <summary>Where a client that comes with this last event id begins.</summary>
    /// <returns>A sequence number for <see cref="After"/>; -1 asks for a snapshot first.</returns>
    public long Find(string? lastEventId)
    {
        lock (_lock)
        {
            if (lastEventId is null)
            {
                return -1;
            }

            // who woke this hub up gets what the farm says from there on
            return lastEventId == resumedFrom ? 0 : _frames.FirstOrDefault(frame => frame.Id == lastEventId)?.Sequence ?? -1;
        }
    }

    /// <summary>What has happened since; and, where that is nothing, a task that ends when something does.</summary>
    public (IReadOnlyList<EventFrame> Frames, Task Changed, bool HasEnded) After(long sequence)
    {
        lock (_lock)
        {
            if (_latest is null || sequence == _sequence)
            {
                return ([], _changed.Task, _hasEnded);
            }

            if (sequence < 0 || _sequence - sequence > MostBehind)
            {
                // all who join at once share one snapshot
                _snapshot = _snapshot?.Sequence == _sequence ? _snapshot : new EventFrame(_sequence, LastId(), Write(LastId(), "snapshot", _latest!, [.. _recent]));
                return ([_snapshot], _changed.Task, _hasEnded);
            }

            return ([.. _frames.Where(frame => frame.Sequence > sequence)], _changed.Task, _hasEnded);
        }
    }

    private static async Task ReadAsync(IFarm farm, JobReference job, string? lastEventId, ChannelWriter<FarmEvent> writer, CancellationToken stop)
    {
        Exception? error = null;
        try
        {
            await foreach (FarmEvent happened in farm.WatchAsync(job, lastEventId, stop))
            {
                writer.TryWrite(happened);
            }
        }
        catch (Exception exception) when (exception is OperationCanceledException or JobNotFoundException)
        {
            // nobody watches any more, or the job was deleted: the streams end
        }
        catch (FarmException exception)
        {
            error = exception;
        }

        writer.TryComplete(error);
    }

    private void Publish(Merged merged)
    {
        string id = JobLifecycle.IsFinal(merged.Job!.State) ? FinalId(merged.Job) : merged.Id;
        ReadOnlyMemory<byte> bytes = Write(id, merged.Type, merged.Job, merged.Samples);
        TaskCompletionSource changed;
        lock (_lock)
        {
            _latest = merged.Job;
            foreach (long sample in merged.Samples)
            {
                _recent.Enqueue(sample);
            }

            while (_recent.Count > RecentSamples)
            {
                _recent.Dequeue();
            }

            _frames.Enqueue(new EventFrame(++_sequence, id, bytes));
            if (_frames.Count > KeptFrames)
            {
                _frames.Dequeue();
            }

            (changed, _changed) = (_changed, NewSignal());
        }

        changed.SetResult();
    }

    private void End()
    {
        lock (_lock)
        {
            _hasEnded = true;
        }

        _changed.TrySetResult();
    }

    private async Task SeedAsync(IFarm farm, JobReference job, CancellationToken stop)
    {
        JobView now = await farm.GetAsync(job, stop);
        lock (_lock)
        {
            _latest = now;
            (TaskCompletionSource changed, _changed) = (_changed, NewSignal());
            changed.SetResult();
        }
    }

    private string LastId() => _frames.Count > 0 ? _frames.Last().Id : resumedFrom!;

    private static byte[] Write(string id, string type, JobView job, IReadOnlyList<long> samples)
    {
        using var text = new MemoryStream();
        text.Write(Encoding.UTF8.GetBytes($"id: {id}\nevent: {type}\ndata: "));
        JsonSerializer.Serialize(text, new JobEventData(Wire.Job(job), samples), ApiJson.Of(FarmJson.Default.JobEventData));
        text.Write("\n\n"u8);
        return text.ToArray();
    }

    private static TaskCompletionSource NewSignal() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Several events as one: the last job, all new samples, the type that says most.</summary>
    private sealed class Merged
    {
        private static readonly string[] ByWeight = ["progress", "samples", "state", "snapshot"];
        private readonly List<long> _samples = [];

        public string Id { get; private set; } = "";
        public string Type { get; private set; } = ByWeight[0];
        public JobView? Job { get; private set; }
        public IReadOnlyList<long> Samples => _samples.Count <= MostSamples ? _samples : _samples[^MostSamples..];

        public void Add(FarmEvent happened)
        {
            (Id, Job) = (happened.Id, happened.Job);
            _samples.AddRange(happened.Samples);
            Type = Array.IndexOf(ByWeight, happened.Type) > Array.IndexOf(ByWeight, Type) ? happened.Type : Type;
        }
    }
}
