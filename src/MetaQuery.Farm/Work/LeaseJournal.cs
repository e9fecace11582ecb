using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Which items are leased, on disk: what is still there after a kill -9 was in the hands of someone who died.</summary>
/// <remarks>
/// Records, version 1: kind 1 is leased (version, worker, count, then number and item each), kind 2 is ended (version, count, numbers).
/// Nothing is synced: the death of the process loses no write, and after a loss of power a lease that is missing only means a death not counted.
/// Not thread-safe: the queue's lock guards it.
/// </remarks>
internal sealed class LeaseJournal : IDisposable
{
    private const byte Version = 1;
    private const byte LeasedKind = 1;
    private const byte EndedKind = 2;
    private const long CompactFromBytes = 1 << 20;
    private const int LeasesPerRecord = 1000;
    private const long ItemBytesPerRecord = 8 << 20; // far below what a journal's record may have

    private readonly SortedDictionary<long, (string Worker, WorkItem Item)> _orphans = [];
    private readonly WireWriter _writer = new();
    private FarmJournal _journal = null!;
    private long _compactAt = CompactFromBytes;

    private LeaseJournal() { }

    /// <summary>Items leased when the process before this one died, in the order they were leased.</summary>
    public IEnumerable<WorkItem> Orphans => _orphans.Values.Select(orphan => orphan.Item);

    /// <summary>The highest number that was ever given and is still in the file.</summary>
    public long LastNumber { get; private set; }

    /// <exception cref="StorageException">The file cannot be opened.</exception>
    /// <exception cref="FarmException">The file is damaged, or a newer version's.</exception>
    public static LeaseJournal Open(string path)
    {
        var leases = new LeaseJournal();
        leases._journal = FarmJournal.Open(path, leases.Replay);
        return leases;
    }

    /// <returns>How many of them, from the first on, are written: fewer than all where the disk took no more. The next call says why.</returns>
    /// <exception cref="StorageException">Not even the first could be written.</exception>
    public int Leased(string worker, IReadOnlyList<MemoryWorkQueue.Held> leases)
    {
        int written = 0;
        foreach ((int count, ReadOnlyMemory<byte> record) in EncodeLeased(worker, leases))
        {
            try
            {
                _journal.Append(LeasedKind, record.Span);
            }
            catch (StorageException) when (written > 0)
            {
                break;
            }

            written += count;
        }

        return written;
    }

    /// <param name="ended">Leases that end.</param>
    /// <param name="withOrphans">Whether the orphans end, too.</param>
    /// <param name="held">All leases, these included: what a compaction keeps.</param>
    /// <exception cref="StorageException">It could not be written.</exception>
    public void Ended(IReadOnlyList<MemoryWorkQueue.Held> ended, bool withOrphans, IReadOnlyCollection<MemoryWorkQueue.Held> held)
    {
        int count = ended.Count + (withOrphans ? _orphans.Count : 0);
        if (count == 0)
        {
            return;
        }

        if (_journal.Bytes > _compactAt)
        {
            _journal.Compact(Snapshot(held));
            _compactAt = Math.Max(CompactFromBytes, 4 * _journal.Bytes);
        }

        _writer.Clear();
        _writer.Byte(Version);
        _writer.Number(count);
        foreach (MemoryWorkQueue.Held lease in ended)
        {
            _writer.Number(lease.Number);
        }

        if (withOrphans)
        {
            foreach (long number in _orphans.Keys)
            {
                _writer.Number(number);
            }
        }

        _journal.Append(EndedKind, _writer.Written.Span);
        if (withOrphans)
        {
            _orphans.Clear();
        }
    }

    public void Dispose() => _journal.Dispose();

    /// <returns>Records and the number of leases in each; a record is good until the next one is asked for.</returns>
    private IEnumerable<(int Count, ReadOnlyMemory<byte> Record)> EncodeLeased(string worker, IEnumerable<MemoryWorkQueue.Held> leases)
    {
        foreach (IReadOnlyList<(MemoryWorkQueue.Held Lease, byte[] Item)> part in ItemChunks.Cut(leases, lease => lease.Item, LeasesPerRecord, ItemBytesPerRecord))
        {
            _writer.Clear();
            _writer.Byte(Version);
            _writer.Text(worker);
            _writer.Number(part.Count);
            foreach ((MemoryWorkQueue.Held lease, byte[] item) in part)
            {
                _writer.Number(lease.Number);
                _writer.Raw(item);
            }

            yield return (part.Count, _writer.Written);
        }
    }

    private IEnumerable<(byte Kind, ReadOnlyMemory<byte> Payload)> Snapshot(IReadOnlyCollection<MemoryWorkQueue.Held> held)
    {
        IEnumerable<MemoryWorkQueue.Held> all =
            [.. _orphans.Select(orphan => new MemoryWorkQueue.Held(orphan.Key, orphan.Value.Worker, "", orphan.Value.Item)), .. held];
        foreach (IGrouping<string, MemoryWorkQueue.Held> leases in all.GroupBy(lease => lease.Worker))
        {
            foreach ((_, ReadOnlyMemory<byte> record) in EncodeLeased(leases.Key, leases))
            {
                yield return (LeasedKind, record);
            }
        }
    }

    private void Replay(byte kind, ReadOnlySpan<byte> payload)
    {
        var reader = new WireReader(payload, "a lease's record");
        reader.Version(Version);
        switch (kind)
        {
            case LeasedKind:
                string worker = reader.Text();
                for (int left = reader.Int32(); left > 0; left--)
                {
                    long number = reader.Number();
                    _orphans[number] = (worker, WorkItemCodec.Read(ref reader));
                    LastNumber = Math.Max(LastNumber, number);
                }

                break;
            case EndedKind:
                for (int left = reader.Int32(); left > 0; left--)
                {
                    _orphans.Remove(reader.Number());
                }

                break;
            default:
                throw reader.Wrong($"there is no kind {kind}");
        }

        reader.End();
    }
}
