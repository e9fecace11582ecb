using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A job's spools, one per unfinished shard, of which few are held open at a time. Thread-safe.</summary>
/// <param name="workPath">The folder that holds them.</param>
/// <param name="layout">Names and sizes of shards.</param>
/// <param name="totalSamples">In the job.</param>
internal sealed class SpoolShelf(string workPath, ShardLayout layout, long totalSamples) : IDisposable
{
    /// <summary>Files held open at a time.</summary>
    public const int MostOpen = 16;

    private const string Extension = ".spool";
    private readonly Lock _gate = new();
    private readonly SortedDictionary<long, SampleSpool> _spools = [];
    private readonly LinkedList<SampleSpool> _openOldestFirst = new();
    private readonly HashSet<SampleSpool> _dirty = [];

    /// <summary>Shards with a spool, ascending.</summary>
    public IReadOnlyList<long> Shards
    {
        get
        {
            lock (_gate)
            {
                return [.. _spools.Keys];
            }
        }
    }

    public long First(long shard) => shard * layout.SamplesPerShard;

    public long End(long shard) => Math.Min(totalSamples, (shard + 1) * layout.SamplesPerShard);

    public string PathOf(long shard) => Path.Combine(workPath, Path.GetFileNameWithoutExtension(layout.ShardName(shard)) + Extension);

    /// <summary>Shards whose spool lies in the folder, ascending.</summary>
    public IReadOnlyList<long> ListFiles() =>
    [
        .. Directory.EnumerateFiles(workPath, "*" + Extension).Select(Path.GetFileNameWithoutExtension)
            .Where(name => name!.All(char.IsAsciiDigit)).Select(name => long.Parse(name!)).Order(),
    ];

    /// <summary>A shard's spool; null where it has none.</summary>
    public SampleSpool? Find(long shard)
    {
        lock (_gate)
        {
            return _spools.GetValueOrDefault(shard);
        }
    }

    /// <summary>A shard's spool, opened or made.</summary>
    /// <exception cref="StorageException">It cannot be.</exception>
    public SampleSpool Get(long shard)
    {
        lock (_gate)
        {
            if (!_spools.TryGetValue(shard, out SampleSpool? spool))
            {
                spool = new SampleSpool(PathOf(shard), First(shard), End(shard) - First(shard));
                _spools.Add(shard, spool);
                if (spool.Count > 0)
                {
                    _dirty.Add(spool);
                }
            }

            return Use(spool);
        }
    }

    /// <summary>Appends to a shard's spool.</summary>
    /// <returns>Whether it was new.</returns>
    /// <exception cref="StorageException">It could not be written: nothing has changed.</exception>
    public bool Append(long shard, SpoolKind kind, long position, ReadOnlySpan<byte> first, ReadOnlySpan<byte> second, ReadOnlySpan<byte> third)
    {
        lock (_gate)
        {
            SampleSpool spool = Get(shard);
            bool isNew = spool.Append(kind, position, first, second, third);
            if (isNew)
            {
                _dirty.Add(spool);
            }

            return isNew;
        }
    }

    /// <summary>Syncs what was appended.</summary>
    /// <exception cref="StorageException">The disk refused.</exception>
    public void Flush()
    {
        SampleSpool[] dirty;
        lock (_gate)
        {
            dirty = [.. _dirty];
        }

        foreach (SampleSpool spool in dirty)
        {
            spool.Flush();
            lock (_gate)
            {
                _dirty.Remove(spool);
            }
        }
    }

    /// <summary>A finished shard needs its spool no more.</summary>
    public void Remove(long shard)
    {
        lock (_gate)
        {
            Drop(shard);
            File.Delete(PathOf(shard));
        }
    }

    /// <summary>Writes a shard's spool anew, without its failures.</summary>
    /// <returns>The positions of the failures.</returns>
    /// <exception cref="StorageException">It could not be written: nothing has changed.</exception>
    public IReadOnlyList<long> DropFailures(long shard) => Get(shard).FailureCount == 0 ? [] : Rewrite(shard, static kind => kind == SpoolKind.Sample);

    /// <summary>Writes a shard's spool anew, without the records that were damaged since they were written: what follows them would be cut off by the next who opens it.</summary>
    /// <returns>Their positions.</returns>
    /// <exception cref="StorageException">It could not be written: nothing has changed.</exception>
    public IReadOnlyList<long> DropDamaged(long shard) => Rewrite(shard, static _ => true);

    public void Dispose()
    {
        lock (_gate)
        {
            foreach (SampleSpool spool in _spools.Values)
            {
                spool.Dispose();
            }
        }
    }

    private List<long> Rewrite(long shard, Func<SpoolKind, bool> isKept)
    {
        var dropped = new List<long>();
        string kept = PathOf(shard) + ".kept";
        lock (_gate) // nothing is appended meanwhile
        {
            SampleSpool old = Get(shard);
            try
            {
                File.Delete(kept);
                using (var spool = new SampleSpool(kept, First(shard), End(shard) - First(shard)))
                {
                    SpoolKind[] kinds = [SpoolKind.Sample, SpoolKind.Failure];
                    foreach ((SpoolKind kind, long position) in kinds.SelectMany(kind => old.Positions(kind).Select(position => (kind, position))))
                    {
                        if (isKept(kind) && old.Read(position, out (byte[] First, byte[] Second, byte[] Third) parts) == SpoolRead.Sound)
                        {
                            spool.Append(kind, position, parts.First, parts.Second, parts.Third);
                        }
                        else
                        {
                            dropped.Add(position);
                        }
                    }

                    spool.Flush();
                }

                Drop(shard);
                File.Move(kept, PathOf(shard), overwrite: true);
                AtomicFile.SyncFolder(workPath);
            }
            catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
            {
                throw StorageException.From(exception, kept);
            }

            Get(shard);
        }

        return dropped;
    }

    private SampleSpool Use(SampleSpool spool)
    {
        _openOldestFirst.Remove(spool); // at most MostOpen long
        _openOldestFirst.AddLast(spool);
        if (_openOldestFirst.Count > MostOpen)
        {
            SampleSpool oldest = _openOldestFirst.First!.Value;
            oldest.Release();
            _dirty.Remove(oldest);
            _openOldestFirst.RemoveFirst();
        }

        return spool;
    }

    private void Drop(long shard)
    {
        if (_spools.Remove(shard, out SampleSpool? spool))
        {
            _openOldestFirst.Remove(spool);
            _dirty.Remove(spool);
            spool.Dispose();
        }
    }
}
