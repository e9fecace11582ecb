using System.Globalization;
using MetaQuery.Data;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>The head's side of the stream of reports and of the inbox files that they name.</summary>
/// <param name="connection">To Redis.</param>
/// <param name="options">Of the queue.</param>
/// <param name="clock">For waits.</param>
/// <param name="head">The head's name in the key <c>run</c>: one that was replaced confirms nothing.</param>
/// <param name="dropped">Called where a report does not tell its item: something that is out will never come back.</param>
internal sealed partial class ReportReader(RedisConnection connection, RedisQueueOptions options, TimeProvider clock, string head, Action dropped) : IAsyncDisposable
{
    private readonly RedisKeys _keys = connection.Keys;
    private readonly SampleInbox _inbox = new(options.InboxFolder);
    private readonly WakeSignals _wakes = new(connection);
    private readonly SemaphoreSlim _turn = new(1, 1);
    private readonly Lock _gate = new();
    private readonly Dictionary<string, string?> _received = new(StringComparer.Ordinal); // with its file, until it is confirmed
    private readonly Dictionary<string, OpenFile> _files = new(StringComparer.Ordinal);
    private readonly HashSet<string> _toConfirm = new(StringComparer.Ordinal);
    private long _last;

    /// <summary>The highest number of a report that was received.</summary>
    public long LastNumber => Volatile.Read(ref _last);

    /// <summary>The server may have lost its last writes: reports may come under numbers that were there before. What was received and not confirmed is known.</summary>
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
        lock (_gate)
        {
            _toConfirm.UnionWith(reports.Select(report => report.Receipt));
        }

        await ConfirmAsync(cancellationToken);
    }

    /// <summary>Confirms also what could not be confirmed before: its effect is on disk, and the head does not ask twice.</summary>
    private async Task ConfirmAsync(CancellationToken cancellationToken)
    {
        string[] receipts;
        lock (_gate)
        {
            receipts = [.. _toConfirm];
        }

        if (receipts.Length == 0)
        {
            return;
        }

        RedisValue[] values = [head, .. receipts.SelectMany(receipt => receipt.Split('/')).Select(part => (RedisValue)part)];
        RedisResult answer = await connection.RepeatAsync(
            database => database.ScriptEvaluateAsync(LuaScripts.Confirm, [_keys.Reports, _keys.Run], values), options.Patience, cancellationToken);
        if ((string?)answer == "TAKEN")
        {
            // whether it is so for good, or Redis lost that this head had taken over, the next look finds out
            throw new WorkQueueException($"another head feeds namespace {connection.Options.Namespace} of redis at {connection.Options.Address}: the reports are not this one's to confirm");
        }

        foreach (string file in Settle(receipts))
        {
            OnDisk(() => _inbox.Delete(file));
        }
    }

    /// <summary>The items of all reports that are not confirmed; without those that cannot be read, which are said when they are received.</summary>
    public async Task<IReadOnlyList<WorkItem>> OpenItemsAsync(CancellationToken cancellationToken)
    {
        StreamEntry[] entries = await connection.RepeatAsync(database => database.StreamRangeAsync(_keys.Reports), options.Patience, cancellationToken);
        var items = new List<WorkItem>(entries.Length);
        foreach (StreamEntry entry in entries)
        {
            if (EntryReader.TryRead(entry["i"], out WorkItem? item, out _))
            {
                items.Add(item);
            }
        }

        return items;
    }

    public IReadOnlyList<InboxFile> ListFiles() => OnDisk(_inbox.List);

    /// <summary>Removes files that no report will ever name: their workers held nothing after the files were listed, and all reports since are known here.</summary>
    /// <remarks>Of a worker that always holds something, what is long past any report of it goes. Should one come all the same, its items are made again.</remarks>
    /// <param name="files">Listed before the leases were looked at.</param>
    /// <param name="holders">Workers that hold leases.</param>
    public async Task SweepAsync(IReadOnlyList<InboxFile> files, IReadOnlySet<string> holders, CancellationToken cancellationToken)
    {
        await ConfirmAsync(cancellationToken);
        HashSet<string> marks = [.. holders.Select(SampleInbox.WorkerMark)];
        DateTime longAgo = clock.GetUtcNow().UtcDateTime - (options.LeaseTime * 20);
        string[] suspects = [.. files.Where(file => !marks.Contains(file.WorkerMark) || file.WrittenAt < longAgo).Select(file => file.Name)];
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
            Array.ForEach(suspects, file => _files.Remove(file));
        }

        foreach (string file in suspects)
        {
            OnDisk(() => _inbox.Delete(file));
        }
    }

    public ValueTask DisposeAsync()
    {
        _turn.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <returns>Files that no report names any more.</returns>
    private List<string> Settle(string[] receipts)
    {
        var done = new List<string>();
        lock (_gate)
        {
            foreach (string receipt in receipts)
            {
                _toConfirm.Remove(receipt);
                if (_received.Remove(receipt, out string? name) && name is not null && _files.TryGetValue(name, out OpenFile? file))
                {
                    file.Unconfirmed.Remove(receipt);
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

    private static void OnDisk(Action action) => OnDisk(() =>
    {
        action();
        return true;
    });

    /// <summary>To the head the inbox is part of the queue: what cannot be read or deleted now is tried again.</summary>
    private static T OnDisk<T>(Func<T> action)
    {
        try
        {
            return action();
        }
        catch (StorageException exception)
        {
            throw new WorkQueueException(exception.Message, exception);
        }
    }

    private static string ReceiptOf(StreamEntry entry) => $"{entry.Id}/{entry["c"]}";

    private static long NumberOf(StreamEntry entry)
    {
        string id = entry.Id.ToString();
        return long.Parse(id.AsSpan(0, id.IndexOf('-', StringComparison.Ordinal)), CultureInfo.InvariantCulture);
    }

    /// <summary>A report as it was read, with its inbox file.</summary>
    private readonly record struct ReadEntry(ReceivedReport Report, string? File, bool IsLastOfFile);

    /// <summary>An inbox file that reports name.</summary>
    private sealed class OpenFile
    {
        public HashSet<string> Unconfirmed { get; } = new(StringComparer.Ordinal);

        /// <summary>Its last report was received: no other will name it.</summary>
        public bool IsComplete { get; set; }
    }
}
