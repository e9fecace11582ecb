using System.Collections.Concurrent;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>The work queue over Redis Streams, as workers see it. Its other side is <see cref="RedisWorkFeed"/>.</summary>
/// <remarks>
/// A stream per lane, role and priority with one consumer group; the consumer is the worker. A lease is an entry of the group's pending list, a heartbeat
/// a claim of one's own entry, and a report is taken where XACK still finds the entry: that is the fence. No command waits inside the server.
/// </remarks>
public sealed class RedisWorkQueue : IWorkQueue, IAsyncDisposable
{
    private readonly RedisConnection _connection;
    private readonly RedisKeys _keys;
    private readonly RedisQueueOptions _options;
    private readonly TimeProvider _clock;
    private readonly SampleInbox _inbox;
    private readonly WakeSignals _wakes;
    private readonly LeaseReader _reader;
    private readonly ConcurrentDictionary<long, Action<string>> _onWithdrawn = new();
    private readonly ConcurrentDictionary<string, ReportAttempt> _unanswered = new(StringComparer.Ordinal); // the last one of each worker
    private long _callbacks;

    private RedisWorkQueue(RedisConnection connection, RedisQueueOptions options, TimeProvider clock)
    {
        (_connection, _keys, _options, _clock) = (connection, connection.Keys, options, clock);
        _inbox = new SampleInbox(options.InboxFolder);
        _wakes = new WakeSignals(connection);
        _reader = new LeaseReader(connection, options, clock);
    }

    /// <exception cref="WorkQueueException">Redis cannot be reached.</exception>
    public static async Task<RedisWorkQueue> OpenAsync(RedisConnection connection, RedisQueueOptions options, TimeProvider? clock = null)
    {
        ArgumentNullException.ThrowIfNull(connection);
        ArgumentNullException.ThrowIfNull(options);
        var queue = new RedisWorkQueue(connection, options, clock ?? TimeProvider.System);
        await connection.RunAsync(async _ =>
        {
            await connection.Subscriber.SubscribeAsync(RedisChannel.Literal(connection.Keys.Withdrawn), queue.Withdrawn);
            return true;
        });
        return queue;
    }

    /// <summary>For tests.</summary>
    internal int LeasesRemembered => _reader.Remembered;

    public async ValueTask<IReadOnlyList<Lease>> LeaseAsync(LeaseRequest request, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(request.Most, 1);
        WakeSignal wake = await _wakes.ListenAsync(_keys.WakePrefix + RedisKeys.WakeName(request.Lane, request.Role));
        long start = _clock.GetTimestamp();
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Task next = wake.Next;
            IReadOnlyList<Lease> leases = await _reader.ReadAsync(request);
            TimeSpan rest = request.Wait - _clock.GetElapsedTime(start);
            if (leases.Count > 0 || rest <= TimeSpan.Zero)
            {
                return leases;
            }

            await WakeSignal.WaitAsync(next, rest < _options.PollTime ? rest : _options.PollTime, _clock, cancellationToken);
        }
    }

    public async ValueTask<Lease?> LeaseAloneAsync(string worker, string lane, WorkRoles roles, CancellationToken cancellationToken)
    {
        cancellationToken.ThrowIfCancellationRequested();
        return await _reader.ReadAloneAsync(worker, AloneQueues(lane, roles));
    }

    public async ValueTask<bool> HasAloneAsync(string lane, WorkRoles roles, CancellationToken cancellationToken)
    {
        RedisKey[] streams = [.. AloneQueues(lane, roles).Select(_keys.Stream)];
        var depths = (long[]?)await _connection.RunAsync(database => database.ScriptEvaluateAsync(LuaScripts.Depth, streams));
        for (int i = 0; i < depths!.Length; i += 2)
        {
            if (depths[i] > depths[i + 1])
            {
                return true;
            }
        }

        return false;
    }

    public async ValueTask<IReadOnlyList<Lease>> RenewAsync(string worker, IReadOnlyList<Lease> leases, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(leases);
        _reader.Keep(leases);
        var lost = new List<Lease>();
        foreach (var epoch in leases.GroupBy(lease => LeaseToken.Of(lease).Epoch))
        {
            Lease[] ofEpoch = [.. epoch];
            var keys = new List<RedisKey> { _keys.Run };
            var values = new List<RedisValue> { epoch.Key, worker };
            foreach (LeaseToken token in ofEpoch.Select(LeaseToken.Of))
            {
                values.Add(ReportCommit.IndexOf(keys, _keys.Stream(token.Stream), 1));
                values.Add(token.Entry);
            }

            RedisKey[] keyArray = [.. keys];
            RedisValue[] valueArray = [.. values];
            string kept = (string)(await _connection.RepeatAsync(
                database => database.ScriptEvaluateAsync(LuaScripts.Renew, keyArray, valueArray), _options.Patience, cancellationToken))!;
            lost.AddRange(ofEpoch.Where((_, i) => kept[i] != '1'));
        }

        _reader.Forget(lost);
        return lost;
    }

    public async ValueTask<IReadOnlyList<bool>> ReportAsync(string worker, IReadOnlyList<WorkReport> reports, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(reports);
        ReportAttempt attempt = _unanswered.TryRemove(worker, out ReportAttempt? last) && last.Covers(reports) ? last : Attempt(worker, reports);
        bool[] taken;
        try
        {
            taken = await CommitAsync(worker, reports, attempt, cancellationToken);
        }
        catch
        {
            attempt.IsRepeat = true;
            _unanswered[worker] = attempt;
            throw;
        }

        _reader.Forget(reports.Select(report => report.Lease));
        // where it went out before, reports that nobody heard of may name the file: then the head deletes it
        if (attempt is { File: { } file, IsRepeat: false } && !taken.Where((isTaken, i) => isTaken && attempt.PlaceOf(reports[i]) is not null).Any())
        {
            _inbox.Delete(file);
        }

        return taken;
    }

    public IDisposable OnWithdrawn(Action<string> jobId)
    {
        ArgumentNullException.ThrowIfNull(jobId);
        long number = Interlocked.Increment(ref _callbacks);
        _onWithdrawn[number] = jobId;
        return new Callback(() => _onWithdrawn.TryRemove(number, out _));
    }

    public async ValueTask DisposeAsync()
    {
        _onWithdrawn.Clear();
        await _connection.Subscriber.UnsubscribeAsync(RedisChannel.Literal(_keys.Withdrawn), Withdrawn, CommandFlags.FireAndForget);
        _reader.Dispose();
    }

    /// <summary>Writes the samples of a call that was not made before.</summary>
    private ReportAttempt Attempt(string worker, IReadOnlyList<WorkReport> reports)
    {
        FinishedSample[] samples = [.. reports.Select(report => report.Outcome).OfType<DenoisedOutcome>().Select(outcome => outcome.Sample)];
        IReadOnlyList<InboxPlace> written = samples.Length == 0 ? [] : _inbox.Write(worker, samples);
        var places = new Dictionary<string, InboxPlace?>(StringComparer.Ordinal);
        int next = 0;
        foreach (WorkReport report in reports)
        {
            places[report.Lease.Token] = report.Outcome is DenoisedOutcome ? written[next++] : null;
        }

        return new ReportAttempt(places, written.Count == 0 ? null : written[0].File);
    }

    private async Task<bool[]> CommitAsync(string worker, IReadOnlyList<WorkReport> reports, ReportAttempt attempt, CancellationToken cancellationToken)
    {
        var taken = new bool[reports.Count];
        foreach (var epoch in Enumerable.Range(0, reports.Count).GroupBy(i => LeaseToken.Of(reports[i].Lease).Epoch))
        {
            int[] indices = [.. epoch];
            string letters = await CommitAsync(worker, epoch.Key, [.. indices.Select(i => reports[i])], attempt, cancellationToken);
            for (int i = 0; i < indices.Length; i++)
            {
                taken[indices[i]] = letters[i] == '1';
            }
        }

        return taken;
    }

    private Task<string> CommitAsync(
        string worker, string epoch, WorkReport[] reports, ReportAttempt attempt, CancellationToken cancellationToken)
    {
        IEnumerable<ReportRow> rows = reports.Select(report =>
        {
            InboxPlace? place = attempt.PlaceOf(report);
            return new ReportRow(LeaseToken.Of(report.Lease), OutcomeFormat.Write(report.Outcome, place), place is not null);
        });
        return ReportCommit.RunAsync(_connection, worker, epoch, attempt.NameOf(reports), rows, _options.AnswerTime, _options.Patience, cancellationToken);
    }

    private static List<string> AloneQueues(string lane, WorkRoles roles)
    {
        WorkRoles[] single = [WorkRoles.Mllm, WorkRoles.Dit];
        return [.. single.Where(role => roles.HasFlag(role)).Select(role => RedisKeys.Alone(lane, role))];
    }

    private void Withdrawn(RedisChannel channel, RedisValue jobId)
    {
        foreach (Action<string> callback in _onWithdrawn.Values)
        {
            callback(jobId.ToString());
        }
    }

    private sealed class Callback(Action end) : IDisposable
    {
        public void Dispose() => end();
    }
}
