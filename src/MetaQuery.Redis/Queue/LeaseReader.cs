using System.Collections.Concurrent;
using System.Security.Cryptography;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>Takes entries for this process' workers, and finds again those whose hand-over got lost with a connection.</summary>
/// <param name="connection">To Redis.</param>
/// <param name="options">Of the queue. What is not renewed for many lease times is nobody's any more.</param>
/// <param name="clock">For that, for doubts and for rests.</param>
internal sealed class LeaseReader(RedisConnection connection, RedisQueueOptions options, TimeProvider clock) : IDisposable
{
    private const int LeaseTimesKept = 20;

    // what was sent before a connection broke may still reach the server for a while
    private static readonly TimeSpan DoubtTime = TimeSpan.FromSeconds(30);

    private static readonly byte[] Returned = OutcomeFormat.Write(new ReturnedOutcome(), place: null);

    private readonly RedisKeys _keys = connection.Keys;
    private readonly ConcurrentDictionary<string, long> _held = new(StringComparer.Ordinal); // with the time when it was last kept
    private readonly Dictionary<(string Lane, WorkRoles Role), PriorityTurns> _turns = [];
    private readonly SemaphoreSlim _gate = new(1, 1);
    private long? _inDoubtSince;
    private long? _restsSince;

    public void Dispose() => _gate.Dispose();

    /// <summary>One look: interactive before bulk, and bulk's share (<see cref="PriorityTurns"/>) before that.</summary>
    public async Task<IReadOnlyList<Lease>> ReadAsync(LeaseRequest request)
    {
        (string worker, string lane, WorkRoles role, int most, _) = request;
        string bulk = RedisKeys.Queue(lane, role, JobPriority.Bulk);
        string interactive = RedisKeys.Queue(lane, role, JobPriority.Interactive);
        await _gate.WaitAsync();
        try
        {
            if (!_turns.TryGetValue((lane, role), out PriorityTurns? turns))
            {
                _turns.Add((lane, role), turns = new PriorityTurns());
            }

            IReadOnlyList<Lease> leases = await ReadAsync(
                worker, most, request.IsInteractiveOnly ? [(interactive, most)] : [(bulk, turns.BulkAmong(most)), (interactive, most), (bulk, most)]);
            int bulkCount = leases.Count(lease => lease.Item.Priority == JobPriority.Bulk);
            turns.Took(leases.Count - bulkCount, bulkCount);
            return leases;
        }
        finally
        {
            _gate.Release();
        }
    }

    public async Task<Lease?> ReadAloneAsync(string worker, IReadOnlyList<string> queues)
    {
        await _gate.WaitAsync();
        try
        {
            IReadOnlyList<Lease> leases = await ReadAsync(worker, 1, [.. queues.Select(queue => (queue, 1))]);
            return leases.Count > 0 ? leases[0] : null;
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>For tests: leases that are remembered.</summary>
    internal int Remembered => _held.Count;

    /// <summary>A worker keeps these, whatever Redis says. Of what a job's end took away from it nobody hears again: it is forgotten when it has long run out.</summary>
    public void Keep(IReadOnlyList<Lease> leases)
    {
        long now = clock.GetTimestamp();
        foreach (Lease lease in leases)
        {
            if (_held.TryGetValue(lease.Token, out long before))
            {
                _held.TryUpdate(lease.Token, now, before); // not where it was forgotten meanwhile
            }
        }

        foreach ((string token, long kept) in _held)
        {
            if (clock.GetElapsedTime(kept, now) > options.LeaseTime * LeaseTimesKept)
            {
                _held.TryRemove(KeyValuePair.Create(token, kept));
            }
        }
    }

    /// <summary>These are no longer this process'.</summary>
    public void Forget(IEnumerable<Lease> leases)
    {
        foreach (Lease lease in leases)
        {
            _held.TryRemove(lease.Token, out _);
        }
    }

    // an item that this version cannot read comes back as soon as it is given back: others shall get at it first, and no loop shall be made of it
    private TimeSpan RestTime => options.LeaseTime / 3;

    private async Task<IReadOnlyList<Lease>> ReadAsync(string worker, int most, IReadOnlyList<(string Queue, int Most)> queues)
    {
        if (_restsSince is { } rests && clock.GetElapsedTime(rests) < RestTime)
        {
            return [];
        }

        _restsSince = null;
        if (_inDoubtSince is { } since)
        {
            // Behind the gate nobody else of this process reads: what the server names as ours and is not among these came in an answer that was lost.
            HashSet<string> known = [.. _held.Keys];
            IReadOnlyList<Lease> found = [.. (await AskAsync(worker, 0, known.Count + most, queues)).Where(lease => known.Add(lease.Token)).Take(most)];
            if (found.Count > 0)
            {
                return Hold(found);
            }

            _inDoubtSince = clock.GetElapsedTime(since) < DoubtTime ? since : null;
        }

        return Hold(await AskAsync(worker, most, 0, queues));
    }

    /// <param name="most">New entries wanted.</param>
    /// <param name="own">Entries wanted of those that the worker holds already.</param>
    private async Task<IReadOnlyList<Lease>> AskAsync(string worker, int most, int own, IReadOnlyList<(string Queue, int Most)> queues)
    {
        RedisKey[] keys = [_keys.Run, .. queues.Select(queue => _keys.Stream(queue.Queue))];
        RedisValue[] values = [worker, most, own, .. queues.Select(queue => (RedisValue)queue.Most)];
        RedisResult[] found;
        try
        {
            found = (RedisResult[])(await connection.RunAsync(database => database.ScriptEvaluateAsync(LuaScripts.Lease, keys, values)))!;
        }
        catch (WorkQueueException)
        {
            _inDoubtSince = clock.GetTimestamp();
            throw;
        }

        var leases = new List<Lease>(found.Length / 3);
        var unreadable = new List<ReportRow>();
        string problem = "";
        for (int i = 1; i + 2 < found.Length; i += 3)
        {
            // the script counts the run's key as 1
            var token = new LeaseToken((string)found[0]!, queues[(int)found[i] - 2].Queue, (string)found[i + 1]!);
            if (EntryReader.TryRead((RedisValue)found[i + 2], out WorkItem? item, out string? what))
            {
                leases.Add(new Lease(token.ToString(), item));
            }
            else
            {
                unreadable.Add(new ReportRow(token, Returned, IsInFile: false));
                problem = what;
            }
        }

        if (unreadable.Count > 0)
        {
            await GiveBackAsync(worker, unreadable, problem);
        }

        return leases;
    }

    /// <summary>Left to run out, they would count as the worker's death; renewed, nobody else would ever get them.</summary>
    private async Task GiveBackAsync(string worker, IReadOnlyList<ReportRow> rows, string problem)
    {
        _restsSince = clock.GetTimestamp();
        options.Log.ItemsGivenBack(rows.Count, RestTime, problem);
        string call = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(12));
        try
        {
            // one attempt: leases that came in the same answer wait for this
            await ReportCommit.RunAsync(connection, worker, rows[0].Token.Epoch, call, rows, options.AnswerTime, TimeSpan.Zero, CancellationToken.None);
        }
        catch (WorkQueueException)
        {
            _inDoubtSince = clock.GetTimestamp(); // the look for what is this worker's finds them again
        }
    }

    private IReadOnlyList<Lease> Hold(IReadOnlyList<Lease> leases)
    {
        foreach (Lease lease in leases)
        {
            _held.TryAdd(lease.Token, clock.GetTimestamp());
        }

        return leases;
    }
}
