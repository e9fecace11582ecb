using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <content>From the stream's entries to reports.</content>
internal sealed partial class ReportReader
{
    private const long SampleBytesAtOnce = 64 << 20;

    private async Task<IReadOnlyList<ReceivedReport>> ReadAsync(int most, CancellationToken cancellationToken)
    {
        await _turn.WaitAsync(cancellationToken);
        try
        {
            while (true)
            {
                long last = LastNumber;
                StreamEntry[] entries = await connection.RunAsync(database => database.StreamRangeAsync(_keys.Reports, $"({last}-0", count: most));
                (List<ReadEntry> read, int count) = Read(entries); // where one cannot be read now, all are read again
                if (count > 0)
                {
                    Interlocked.CompareExchange(ref _last, NumberOf(entries[count - 1]), last); // not where it is to be started again meanwhile
                }

                if (read.Count > 0 || entries.Length == 0)
                {
                    Remember(read);
                    return [.. read.Select(entry => entry.Report)];
                }
            }
        }
        finally
        {
            _turn.Release();
        }
    }

    private bool IsNew(StreamEntry entry)
    {
        lock (_gate)
        {
            return !_received.ContainsKey(ReceiptOf(entry));
        }
    }

    /// <summary>Reads reports until their samples are as many bytes as a head should hold at once.</summary>
    /// <returns>The new ones, and how many entries were looked at.</returns>
    private (List<ReadEntry> Read, int Count) Read(StreamEntry[] entries)
    {
        var read = new List<ReadEntry>();
        int count = 0;
        for (long bytes = 0; count < entries.Length && bytes < SampleBytesAtOnce; count++)
        {
            StreamEntry entry = entries[count];
            if (!IsNew(entry))
            {
                continue;
            }

            if (EntryReader.TryRead(entry["i"], out WorkItem? item, out string? problem))
            {
                ReadEntry report = Read(entry, item);
                bytes += report.Report.Outcome is DenoisedOutcome { Sample: var sample } ? sample.Image.Length + sample.Caption.Length + sample.Json.Length : 0;
                read.Add(report);
            }
            else
            {
                Drop(entry, problem);
            }
        }

        return (read, count);
    }

    /// <summary>Nobody will ever know what it is about: it is confirmed with the next ones.</summary>
    private void Drop(StreamEntry entry, string problem)
    {
        lock (_gate)
        {
            if (!_toConfirm.Add(ReceiptOf(entry)))
            {
                return; // said before
            }
        }

        options.Log.ReportDropped(entry["w"].ToString(), problem);
        dropped();
    }

    private ReadEntry Read(StreamEntry entry, WorkItem item)
    {
        WorkOutcome? outcome;
        InboxPlace? place;
        try
        {
            (outcome, place) = OutcomeFormat.Read((byte[]?)entry["o"]);
        }
        catch (WireFormatException exception)
        {
            // whatever came of it: the item is made again
            options.Log.OutcomePassedOver(entry["w"].ToString(), item.Id, exception.Message);
            (outcome, place) = (new ReturnedOutcome(), null);
        }

        if (place is { } at)
        {
            // missing or damaged: the item comes back untouched, and is made again
            outcome = OnDisk(() => _inbox.TryRead(at)) is { } sample ? new DenoisedOutcome(sample) : new ReturnedOutcome();
        }

        return new ReadEntry(new ReceivedReport(ReceiptOf(entry), entry["w"].ToString(), item, outcome!), place?.File, entry["z"] == "1");
    }

    /// <summary>What is remembered is delivered: nothing may come between this and the return to the head.</summary>
    private void Remember(List<ReadEntry> entries)
    {
        lock (_gate)
        {
            foreach (ReadEntry entry in entries)
            {
                _received[entry.Report.Receipt] = entry.File;
                if (entry.File is { } name)
                {
                    if (!_files.TryGetValue(name, out OpenFile? file))
                    {
                        _files.Add(name, file = new OpenFile());
                    }

                    file.Unconfirmed.Add(entry.Report.Receipt);
                    file.IsComplete |= entry.IsLastOfFile;
                }
            }
        }
    }
}
