using System.Text;
using System.Text.Json;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>All jobs and the faults of their items, in memory and in the journal. Thread-safe.</summary>
/// <remarks>Journal kinds, append-only: 1 a job's record, 2 a deleted job's id, 3 an item's faults, 4 what a tenant asked for on a day, of jobs deleted since.</remarks>
internal sealed class JobBoard : IDisposable
{
    private const byte JobKindByte = 1;
    private const byte DeletedKind = 2;
    private const byte FaultKind = 3;
    private const byte UsageKind = 4;
    private const string FileName = "farm.journal";
    private const string ReserveName = "reserve";
    private const int ReserveBytes = 32 << 10;
    private const long CompactFromBytes = 16L << 20;

    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, JobRecord> _jobs = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Tenant, string Key), string> _byKey = [];
    private readonly Dictionary<(string Tenant, DateOnly Day), long> _deletedUsage = [];
    private readonly FarmJournal _journal;
    private readonly DiskReserve _reserve;
    private readonly HashSet<string> _unwritten = new(StringComparer.Ordinal);
    private bool _mustCompact = true;
    private long _compactAt;

    /// <summary>A full disk does not keep it from opening: see <see cref="CatchUp"/>.</summary>
    /// <exception cref="StorageException">The journal cannot be read or written.</exception>
    /// <exception cref="JournalDamagedException">It lost what it had promised.</exception>
    public JobBoard(string journalFolder)
    {
        Directory.CreateDirectory(journalFolder);
        _journal = FarmJournal.Open(Path.Combine(journalFolder, FileName), Replay);
        _reserve = new DiskReserve(Path.Combine(journalFolder, ReserveName), ReserveBytes);
        CatchUp();
    }

    /// <summary>Bytes of a torn tail that were cut off when it was opened.</summary>
    public long CutBytes => _journal.CutBytes;

    /// <summary>What a full disk kept from being written, in one line; null where all is. Nothing that was promised is among it.</summary>
    public string? Trouble { get; private set; }

    /// <summary>Faults found in the journal; from then on the dispatcher's.</summary>
    public FaultLedger Ledger { get; } = new();

    public JobRecord? Find(string id)
    {
        lock (_gate)
        {
            return _jobs.GetValueOrDefault(id);
        }
    }

    public JobRecord? FindByKey(string tenant, string key)
    {
        lock (_gate)
        {
            return _byKey.TryGetValue((tenant, key), out string? id) ? _jobs.GetValueOrDefault(id) : null;
        }
    }

    /// <summary>Ids grow with time, so that this is the order of submission.</summary>
    public IReadOnlyList<JobRecord> List()
    {
        lock (_gate)
        {
            return [.. _jobs.Values];
        }
    }

    /// <summary>Writes a job down, durably; a record of the same id is replaced.</summary>
    /// <exception cref="StorageException">It could not be written: nothing has changed.</exception>
    public void Put(JobRecord record)
    {
        lock (_gate)
        {
            Write(record);
        }
    }

    /// <summary>The same for what frees space or gives rest: it may use the reserve.</summary>
    /// <exception cref="StorageException">It could not be written: nothing has changed.</exception>
    public void PutFirmly(JobRecord record)
    {
        lock (_gate)
        {
            Firmly(() => Write(record));
        }
    }

    /// <summary>The same for what the next head would find by itself: a full disk does not hold it up.</summary>
    /// <exception cref="StorageException">It could not be written for another reason: nothing has changed.</exception>
    public void PutOrRemember(JobRecord record)
    {
        lock (_gate)
        {
            try
            {
                Write(record);
            }
            catch (StorageException exception) when (exception.IsTransient)
            {
                Apply(record);
                _unwritten.Add(record.Id);
                Trouble = exception.Message;
            }
        }
    }

    /// <summary>Writes what a full disk did not take before, as far as it does now. Called now and then.</summary>
    /// <exception cref="StorageException">The disk refuses for another reason.</exception>
    public void CatchUp()
    {
        lock (_gate)
        {
            try
            {
                if (_mustCompact)
                {
                    Compact();
                    _unwritten.Clear();
                }

                foreach (string id in _unwritten.ToList())
                {
                    if (_jobs.TryGetValue(id, out JobRecord? record))
                    {
                        Write(record);
                    }

                    _unwritten.Remove(id);
                }

                _reserve.Take();
                Trouble = null;
            }
            catch (StorageException exception) when (exception.IsTransient)
            {
                Trouble = exception.Message;
            }
        }
    }

    /// <summary>Forgets a job, durably.</summary>
    /// <exception cref="StorageException">It could not be written: nothing has changed.</exception>
    public void Delete(JobRecord record)
    {
        lock (_gate)
        {
            var day = DateOnly.FromDateTime(record.CreatedAt.UtcDateTime);
            Firmly(() =>
            {
                MendIfBroken();
                _journal.Append(DeletedKind, Encoding.UTF8.GetBytes(record.Id));
                _journal.Append(UsageKind, UsageBytes(record.Tenant, day, record.Images));
                _journal.Flush();
            });
            AddUsage(record.Tenant, day, record.Images);
            Remove(record.Id);
        }
    }

    /// <summary>Writes faults down, durably.</summary>
    /// <exception cref="StorageException">They could not all be written; writing them again changes nothing.</exception>
    public void Journal(IReadOnlyList<FaultRecord> faults)
    {
        lock (_gate) // not while the journal is written anew from what was before
        {
            MendIfBroken();
            foreach (FaultRecord fault in faults)
            {
                _journal.Append(FaultKind, fault.ToBytes());
            }

            _journal.Flush();
        }
    }

    /// <summary>Images that a tenant asked for on a day, deleted jobs included.</summary>
    public long ImagesOn(string tenant, DateOnly day)
    {
        lock (_gate)
        {
            return _deletedUsage.GetValueOrDefault((tenant, day))
                + _jobs.Values.Where(job => job.Tenant == tenant && DateOnly.FromDateTime(job.CreatedAt.UtcDateTime) == day).Sum(job => job.Images);
        }
    }

    public void Dispose() => _journal.Dispose();

    private void Write(JobRecord record)
    {
        MendIfBroken();
        _journal.Append(JobKindByte, record.ToBytes());
        _journal.Flush();
        Apply(record);
        _unwritten.Remove(record.Id);
        if (_journal.Bytes > _compactAt)
        {
            _mustCompact = true; // at the next CatchUp: what is written now must not fail by it
        }
    }

    private void Firmly(Action write)
    {
        try
        {
            write();
        }
        catch (StorageException exception) when (exception.IsTransient && _reserve.GiveUp())
        {
            Trouble = exception.Message;
            write();
        }
    }

    private void Replay(byte kind, ReadOnlySpan<byte> payload)
    {
        switch (kind)
        {
            case JobKindByte:
                Apply(JobRecord.Parse(payload));
                break;
            case DeletedKind:
                Remove(Encoding.UTF8.GetString(payload));
                break;
            case FaultKind:
                Ledger.Apply(FaultRecord.Parse(payload));
                break;
            case UsageKind:
                Usage usage = JsonSerializer.Deserialize<Usage>(payload)!;
                AddUsage(usage.Tenant, usage.Day, usage.Images);
                break;
            default:
                throw new JournalDamagedException($"the journal holds a record of kind {kind}, which this program does not know: use the program that wrote it, or a newer one");
        }
    }

    private void Apply(JobRecord record)
    {
        _jobs[record.Id] = record;
        if (record.IdempotencyKey is { } key)
        {
            _byKey[(record.Tenant, key)] = record.Id;
        }
    }

    private void Remove(string id)
    {
        if (_jobs.Remove(id, out JobRecord? job) && job.IdempotencyKey is { } key)
        {
            _byKey.Remove((job.Tenant, key));
        }
    }

    private void AddUsage(string tenant, DateOnly day, long images) =>
        _deletedUsage[(tenant, day)] = _deletedUsage.GetValueOrDefault((tenant, day)) + images;

    private static byte[] UsageBytes(string tenant, DateOnly day, long images) => JsonSerializer.SerializeToUtf8Bytes(new Usage(tenant, day, images));

    /// <summary>After a sync that failed: what was promised is in memory, and is written anew before anything more is.</summary>
    private void MendIfBroken()
    {
        if (_journal.IsBroken)
        {
            Compact();
        }
    }

    /// <summary>Writes the journal anew: what is, without what was.</summary>
    private void Compact()
    {
        var records = new List<(byte, ReadOnlyMemory<byte>)>();
        foreach (JobRecord job in _jobs.Values)
        {
            records.Add((JobKindByte, job.ToBytes()));
        }

        lock (Ledger)
        {
            records.AddRange(Ledger.Snapshot().Select(fault => (FaultKind, (ReadOnlyMemory<byte>)fault.ToBytes())));
        }

        records.AddRange(_deletedUsage.Select(usage => (UsageKind, (ReadOnlyMemory<byte>)UsageBytes(usage.Key.Tenant, usage.Key.Day, usage.Value))));
        _journal.Compact(records);
        _mustCompact = false;
        _compactAt = Math.Max(CompactFromBytes, 4 * _journal.Bytes);
    }

    private sealed record Usage(string Tenant, DateOnly Day, long Images);
}
