using System.Collections;
using System.Text;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <content>From spools to shards.</content>
internal sealed partial class ShardedSampleStore
{
    public IReadOnlyList<long> FinishShards()
    {
        var damaged = new List<long>();
        while (HasFullShard)
        {
            if (!_finishedShards[(int)_nextShard] && !TryFinishShard(_nextShard, _spools.Find(_nextShard)!))
            {
                damaged.AddRange(DropDamaged(_nextShard));
                continue;
            }

            Interlocked.Increment(ref _nextShard);
        }

        return damaged;
    }

    /// <summary>Takes the contact sheet's samples that a run before this one finished out of their shards.</summary>
    private void CollectPicks()
    {
        foreach (IGrouping<long, long> shard in _picks.FindMissing().GroupBy(_layout.ShardOf))
        {
            ShardIndex index = ShardIndex.Open(_folder.PathOf(_layout.ShardName(shard.Key)));
            foreach (long position in shard)
            {
                if (index.Read(_layout.Key(position)) is { } sample)
                {
                    _picks.Keep(position, sample.Find(_extension)!.Value.Span, sample.Find("txt")!.Value.Span);
                }
            }
        }
    }

    /// <summary>On opening: a disk that is full now keeps nobody from looking at the job; who works on it tries again.</summary>
    private void FinishWhatIsWhole()
    {
        try
        {
            FinishShards();
        }
        catch (StorageException exception) when (exception.IsTransient)
        {
            // HasFullShard still says so
        }
    }

    private IReadOnlyList<long> DropDamaged(long shard)
    {
        lock (_gate)
        {
            SampleSpool before = _spools.Get(shard);
            (int all, int failures) = (before.Count, before.FailureCount);
            IReadOnlyList<long> damaged = _spools.DropDamaged(shard);
            SampleSpool after = _spools.Get(shard);
            FailedCount -= failures - after.FailureCount;
            WrittenCount -= all - failures - (after.Count - after.FailureCount);
            return damaged.Count > 0 ? damaged : throw new StorageException(
                StorageFault.Other, $"{_spools.PathOf(shard)}: a record reads as damaged now and as sound then; look after this disk");
        }
    }

    /// <returns>False where a record was damaged since it was written.</returns>
    private bool TryFinishShard(long shard, SampleSpool spool)
    {
        string name = _layout.ShardName(shard);
        using (var writer = new WebDatasetShardWriter(_folder.FullPath, name))
        using (var failures = new MemoryStream())
        {
            for (long position = _spools.First(shard); position < _spools.End(shard); position++)
            {
                if (spool.Read(position, out (byte[] First, byte[] Second, byte[] Third) parts) is var read && read == SpoolRead.Damaged)
                {
                    return false;
                }

                (byte[] first, byte[] second, byte[] third) = read == SpoolRead.Sound
                    ? parts
                    : throw new ObjectDisposedException(nameof(SampleSpool), $"shard {name} was let go while it was being written");
                if (spool.KindOf(position) == SpoolKind.Failure)
                {
                    failures.Write(first);
                    failures.WriteByte((byte)'\n');
                    continue;
                }

                writer.Add(_layout.Key(position), [new ShardFile(_extension, first), new ShardFile("txt", second), new ShardFile("json", third)]);
                _picks.Keep(position, first, second);
            }

            _picks.Flush();
            string failurePath = _folder.PathOf(FailureFile.NameFor(name));
            if (failures.Length > 0)
            {
                AtomicFile.WriteAllBytes(failurePath, failures.ToArray());
            }

            _manifest.Append(writer.Commit(spool.FailureCount));
            if (failures.Length == 0)
            {
                File.Delete(failurePath); // of an earlier round, superseded by the line just written
            }
        }

        lock (_gate)
        {
            _finishedShards[(int)shard] = true;
            _spools.Remove(shard);
        }

        return true;
    }
}
