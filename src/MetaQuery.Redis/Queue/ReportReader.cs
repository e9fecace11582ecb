using System.Globalization;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>The head's side of the stream of reports and of the inbox files that they name.</summary>
internal sealed class ReportReader(RedisConnection connection, RedisQueueOptions options, TimeProvider clock) : IAsyncDisposable
{
    private readonly RedisKeys _keys = connection.Keys;
    private readonly SampleInbox _inbox = new(options.InboxFolder);
    private readonly WakeSignals _wakes = new(connection);
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly Lock _gate = new();
    private readonly Dictionary<string, string> _fileOf = new(StringComparer.Ordinal);
    private readonly Dictionary<string, OpenFile> _files = new(StringComparer.Ordinal);
    private long _last;

    /// <summary>The highest number of a report that was received.</summary>
    public long LastNumber => Volatile.Read(ref _last);

    public void StartAgain() => Volatile.Write(ref _last, 0);

    public async ValueTask<IReadOnlyList<ReceivedReport>> ReceiveAsync(int most, TimeSpan wait, ContactClock contact, CancellationToken cancellationToken)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(most, 1);
        WakeSignal wake = await _wakes.ListenAsync(_keys.ReportsWake);
        long start = clock.GetTimestamp();
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Task next = wake.Next;
            IReadOnlyList<ReceivedReport> reports = await ReadAsync(most, cancellationToken);
            contact.Heard();
            TimeSpan rest = wait - clock.GetElapsedTime(start);
            if (reports.Count > 0 || rest <= TimeSpan.Zero)
            {
                return reports;
            }

            await WakeSignal.WaitAsync(next, rest < options.PollTime ? rest : options.PollTime, clock, cancellationToken);
        }
    }

    public async ValueTask ConfirmAsync(IReadOnlyList<ReceivedReport> reports, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(reports);
        if (reports.Count == 0)
        {
            return;
        }

        RedisValue[] ids = [.. reports.Select(report => (RedisValue)report.Receipt)];
        await connection.RepeatAsync(database => database.ScriptEvaluateAsync(LuaScripts.Confirm, [_keys.Reports], ids), options.Patience, cancellationToken);
        foreach (string file in Settle(reports))
        {
            _inbox.Delete(file);
        }
    }

    /// <summary>The items of all reports that are not confirmed.</summary>
    public async Task<IReadOnlyList<WorkItem>> OpenItemsAsync(CancellationToken cancellationToken)
    {
        StreamEntry[] entries = await connection.RepeatAsync(database => database.StreamRangeAsync(_keys.Reports), options.Patience, cancellationToken);
        return [.. entries.Select(entry => WorkItemCodec.Read((byte[])entry["i"]!))];
    }

    public IReadOnlyList<(string File, string WorkerMark)> ListFiles() => _inbox.List();

    /// <summary>Removes files that no report will ever name: their workers held nothing after the files were listed, and all reports since are known here.</summary>
    /// <param name="files">Listed before the leases were looked at.</param>
    /// <param name="holders">Workers that hold leases.</param>
    public async Task SweepAsync(IReadOnlyList<(string File, string WorkerMark)> files, IReadOnlySet<string> holders, CancellationToken cancellationToken)
    {
        HashSet<string> marks = [.. holders.Select(SampleInbox.WorkerMark)];
        string[] suspects = [.. files.Where(file => !marks.Contains(file.WorkerMark)).Select(file => file.File)];
        if (suspects.Length == 0)
        {
            return;
        }

        StreamEntry[] unread = await connection.RepeatAsync(
            database => database.StreamRangeAsync(_keys.Reports, $"({LastNumber}-0", count: 1), options.Patience, cancellationToken);
        if (unread.Length > 0)
        {
            return; // it may name one of them: at the next sweep
        }

        lock (_gate)
        {
            suspects = [.. suspects.Where(file => !_files.TryGetValue(file, out OpenFile? open) || open.Unconfirmed.Count == 0)];
        }

        Array.ForEach(suspects, _inbox.Delete);
    }

    public ValueTask DisposeAsync()
    {
        _turn.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<IReadOnlyList<ReceivedReport>> ReadAsync(int most, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            StreamEntry[] entries = await connection.RunAsync(database => database.StreamRangeAsync(_keys.Reports, $"({LastNumber}-0", count: most));
            ReceivedReport[] reports = [.. entries.Select(Read)];
            if (reports.Length > 0)
            {
                Volatile.Write(ref _last, NumberOf(reports[^1].Receipt));
            }

            return reports;
        }
        finally
        {
            _turn.Release();
        }
    }

    private ReceivedReport Read(StreamEntry entry)
    {
        string receipt = entry.Id.ToString();
        (WorkOutcome? outcome, InboxPlace? place) = OutcomeFormat.Read((byte[])entry["o"]!);
        if (place is { } at)
        {
            lock (_gate)
            {
                if (!_files.TryGetValue(at.File, out OpenFile? file))
                {
                    _files.Add(at.File, file = new OpenFile());
                }

                file.Unconfirmed.Add(receipt);
                file.IsComplete |= entry["z"] == "1";
                _fileOf[receipt] = at.File;
            }

            // missing or damaged: the item comes back untouched, and is made again
            outcome = _inbox.TryRead(at) is { } sample ? new DenoisedOutcome(sample) : new ReturnedOutcome();
        }

        return new ReceivedReport(receipt, entry["w"].ToString(), WorkItemCodec.Read((byte[])entry["i"]!), outcome!);
    }

    /// <returns>Files that no report names any more.</returns>
    private List<string> Settle(IReadOnlyList<ReceivedReport> reports)
    {
        var done = new List<string>();
        lock (_gate)
        {
            foreach (ReceivedReport report in reports)
            {
                if (_fileOf.Remove(report.Receipt, out string? name) && _files[name] is var file)
                {
                    file.Unconfirmed.Remove(report.Receipt);
                    if (file.IsComplete && file.Unconfirmed.Count == 0)
                    {
                        _files.Remove(name);
                        done.Add(name);
                    }
                }
            }
        }

        return done;
    }

    private static long NumberOf(string receipt) => long.Parse(receipt.AsSpan(0, receipt.IndexOf('-', StringComparison.Ordinal)), CultureInfo.InvariantCulture);

    /// <summary>An inbox file that reports name.</summary>
    private sealed class OpenFile
    {
        public HashSet<string> Unconfirmed { get; } = new(StringComparer.Ordinal);

        /// <summary>Its last report was received: no other will name it.</summary>
        public bool IsComplete { get; set; }
    }
}
