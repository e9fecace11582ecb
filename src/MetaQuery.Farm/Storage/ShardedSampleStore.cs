using System.Collections;
using System.Security.Cryptography;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>Commits samples to spools, and whole spools to shards in key order; a shard counts once its manifest line is there.</summary>
/// <remarks>
/// Shards are finished in ascending order, so that the manifest's lines do not tell of chance. <see cref="IsSettled"/> is for any thread, the rest
/// for one.
/// </remarks>
internal sealed class ShardedSampleStore : ISampleStore, IDisposable
{
    private readonly OutFolder _folder;
    private readonly ShardLayout _layout;
    private readonly long _totalSamples;
    private readonly string _extension;
    private readonly ContactSheetPicks _picks;
    private readonly Manifest _manifest;
    private readonly Lock _gate = new();
    private readonly BitArray _finishedShards;
    private readonly Dictionary<long, SampleSpool> _spools = [];
    private long _nextShard;

    /// <param name="folder">The job's folder, taken.</param>
    /// <param name="plan">The job.</param>
    /// <param name="identity">Its identity, for the manifest's header.</param>
    /// <param name="picks">The samples that go onto the contact sheet.</param>
    /// <param name="retryFailed">Forget failures of earlier runs; shards with gaps are opened again.</param>
    public ShardedSampleStore(OutFolder folder, JobPlan plan, JobIdentity identity, ContactSheetPicks picks, bool retryFailed)
    {
        _folder = folder;
        _layout = plan.Layout;
        _totalSamples = plan.ImageCount;
        _extension = ImageEncoder.Extension(plan.Settings.Format);
        _picks = picks;
        _finishedShards = new BitArray(checked((int)plan.ShardCount));
        string path = folder.PathOf(Manifest.FileName);
        _manifest = File.Exists(path)
            ? Manifest.Open(path)
            : Manifest.Create(path, new ManifestHeader
            {
                JobHash = identity.Hash,
                JobSpecJson = identity.FieldsToJson(),
                ModelRevision = plan.Images.ModelRevision,
                NumericsFingerprint = folder.Numerics[0],
                ImageEncoding = ImageEncoder.Identity(plan.Settings.Format, plan.Settings.Quality),
            });
        try
        {
            if (_manifest.Header.JobHash != identity.Hash)
            {
                throw new ManifestException($"{path}: is of another job than the {OutFolder.JobFileName} beside it; name another folder");
            }

            Recover(retryFailed);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Samples committed.</summary>
    public long WrittenCount { get; private set; }

    /// <summary>Samples given up.</summary>
    public long FailedCount { get; private set; }

    public bool IsComplete => _nextShard == _finishedShards.Count;

    public bool IsSettled(long position)
    {
        lock (_gate)
        {
            long shard = _layout.ShardOf(position);
            return _finishedShards[(int)shard] || (_spools.TryGetValue(shard, out SampleSpool? spool) && spool.KindOf(position) is not null);
        }
    }

    public void Add(FinishedSample sample)
    {
        lock (_gate)
        {
            long shard = _layout.ShardOf(sample.Position);
            if (!_finishedShards[(int)shard] && Spool(shard).Append(SpoolKind.Sample, sample.Position, sample.Image.Span, sample.Caption.Span, sample.Json.Span))
            {
                WrittenCount++;
            }
        }
    }

    public void Fail(long position, FailedSample failure)
    {
        lock (_gate)
        {
            long shard = _layout.ShardOf(position);
            if (!_finishedShards[(int)shard] && Spool(shard).Append(SpoolKind.Failure, position, FailureFile.ToLine(failure), [], []))
            {
                FailedCount++;
            }
        }
    }

    public void Flush()
    {
        lock (_gate)
        {
            foreach (SampleSpool spool in _spools.Values)
            {
                spool.Flush();
            }
        }
    }

    public IReadOnlyList<long> OpenShards()
    {
        lock (_gate)
        {
            return [.. _spools.Keys.Order()];
        }
    }

    public IReadOnlyList<long> PositionsIn(long shard)
    {
        lock (_gate)
        {
            return _spools.TryGetValue(shard, out SampleSpool? spool)
                ? [.. spool.Positions.Where(position => spool.KindOf(position) == SpoolKind.Sample).Order()]
                : [];
        }
    }

    public FinishedSample? TryRead(long position)
    {
        lock (_gate)
        {
            if (_spools.TryGetValue(_layout.ShardOf(position), out SampleSpool? spool) && spool.KindOf(position) == SpoolKind.Sample)
            {
                (byte[] image, byte[] caption, byte[] json) = spool.Read(position);
                return new FinishedSample(position, image, caption, json);
            }
        }

        return null;
    }

    /// <summary>The first failures in key order.</summary>
    public IReadOnlyList<FailedSample> ListFailures(int most)
    {
        var failures = new List<FailedSample>();
        foreach (ShardEntry entry in _manifest.Shards.Values.Where(entry => entry.FailedCount > 0).OrderBy(entry => entry.Shard, StringComparer.Ordinal))
        {
            failures.AddRange(ReadFailures(entry.Shard).Take(most - failures.Count));
        }

        foreach ((_, SampleSpool spool) in _spools.OrderBy(spool => spool.Key))
        {
            failures.AddRange(spool.Positions.Order().Where(position => spool.KindOf(position) == SpoolKind.Failure)
                .Take(most - failures.Count).Select(position => FailureFile.Parse(spool.Read(position).First)));
        }

        return failures;
    }

    /// <summary>Takes the contact sheet's samples that a run before this one finished out of their shards.</summary>
    public void CollectPicks()
    {
        foreach (IGrouping<long, long> shard in _picks.Missing.GroupBy(_layout.ShardOf).ToList())
        {
            Dictionary<string, long> wanted = shard.ToDictionary(_layout.Key);
            foreach (ShardSample sample in WebDatasetShardReader.Read(_folder.PathOf(_layout.ShardName(shard.Key))))
            {
                if (wanted.TryGetValue(sample.Key, out long position))
                {
                    _picks.Keep(position, Part(sample, _extension), Part(sample, "txt"));
                }
            }
        }
    }

    public void Dispose()
    {
        foreach (SampleSpool spool in _spools.Values)
        {
            spool.Dispose();
        }

        _manifest.Dispose();
    }

    private void Recover(bool retryFailed)
    {
        IReadOnlyDictionary<string, ShardEntry> entries = _manifest.Shards; // a copy at each call
        for (long shard = 0; shard < _finishedShards.Count; shard++)
        {
            string name = _layout.ShardName(shard);
            if (!entries.TryGetValue(name, out ShardEntry? entry))
            {
                continue;
            }

            var file = new FileInfo(_folder.PathOf(name));
            if (!file.Exists || file.Length != entry.ByteLength)
            {
                continue; // lost or cut since: made again, and a later manifest line supersedes this one
            }

            if (File.Exists(SpoolPath(shard)) && HashOf(file.FullName) != entry.Sha256)
            {
                continue; // killed between a rewritten shard's rename and its manifest line: its spool is whole, and it is finished again
            }

            if (retryFailed && entry.FailedCount > 0)
            {
                Reopen(shard, file.FullName);
                continue;
            }

            _finishedShards[(int)shard] = true;
            WrittenCount += entry.SampleCount;
            FailedCount += entry.FailedCount;
            File.Delete(SpoolPath(shard));
            if (entry.FailedCount == 0)
            {
                File.Delete(_folder.PathOf(FailureFile.NameFor(name))); // of an earlier round: a kill came after the line that supersedes it
            }
        }

        for (long shard = 0; shard < _finishedShards.Count; shard++)
        {
            if (!_finishedShards[(int)shard] && (_spools.ContainsKey(shard) || File.Exists(SpoolPath(shard))))
            {
                if (retryFailed)
                {
                    DropFailures(shard);
                }

                SampleSpool spool = Spool(shard);
                WrittenCount += spool.Count - spool.FailureCount;
                FailedCount += spool.FailureCount;
            }
        }

        FinishShards();
    }

    /// <summary>A finished shard's samples become a spool again, so that its gaps can be filled.</summary>
    private void Reopen(long shard, string path)
    {
        SampleSpool spool = Spool(shard);
        var positions = new Dictionary<string, long>();
        for (long position = shard * _layout.SamplesPerShard; position < End(shard); position++)
        {
            positions.Add(_layout.Key(position), position);
        }

        foreach (ShardSample sample in WebDatasetShardReader.Read(path))
        {
            spool.Append(SpoolKind.Sample, positions[sample.Key], Part(sample, _extension), Part(sample, "txt"), Part(sample, "json"));
        }

        spool.Flush();
    }

    private static ReadOnlySpan<byte> Part(ShardSample sample, string extension) =>
        sample.Files.Single(file => file.Extension == extension).Content.Span;

    private void DropFailures(long shard)
    {
        SampleSpool old = Spool(shard);
        if (old.FailureCount == 0)
        {
            return;
        }

        string kept = SpoolPath(shard) + ".kept";
        File.Delete(kept);
        using (var spool = new SampleSpool(kept, shard * _layout.SamplesPerShard, Count(shard)))
        {
            foreach (long position in old.Positions.Where(position => old.KindOf(position) == SpoolKind.Sample))
            {
                (byte[] first, byte[] second, byte[] third) = old.Read(position);
                spool.Append(SpoolKind.Sample, position, first, second, third);
            }

            spool.Flush();
        }

        old.Dispose();
        _spools.Remove(shard);
        File.Move(kept, SpoolPath(shard), overwrite: true);
    }

    /// <summary>Whether <see cref="FinishShards"/> has something to do.</summary>
    public bool HasFullShard
    {
        get
        {
            lock (_gate)
            {
                return _nextShard < _finishedShards.Count
                    && (_finishedShards[(int)_nextShard] || (_spools.TryGetValue(_nextShard, out SampleSpool? spool) && spool.Count == Count(_nextShard)));
            }
        }
    }

    /// <summary>Writes the shards whose turn it is and whose samples are all there. For one thread at a time; others may add meanwhile.</summary>
    /// <exception cref="StorageException">A shard could not be written; to be tried again.</exception>
    public void FinishShards()
    {
        while (HasFullShard)
        {
            SampleSpool? spool = null;
            lock (_gate)
            {
                if (!_finishedShards[(int)_nextShard])
                {
                    spool = _spools[_nextShard];
                }
            }

            if (spool is not null)
            {
                FinishShard(_nextShard, spool);
            }

            lock (_gate)
            {
                _nextShard++;
            }
        }
    }

    private void FinishShard(long shard, SampleSpool spool)
    {
        string name = _layout.ShardName(shard);
        using (var writer = new WebDatasetShardWriter(_folder.FullPath, name))
        using (var failures = new MemoryStream())
        {
            for (long position = shard * _layout.SamplesPerShard; position < End(shard); position++)
            {
                (byte[] first, byte[] second, byte[] third) = spool.Read(position);
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

        spool.Dispose();
        File.Delete(SpoolPath(shard));
    }

    private SampleSpool Spool(long shard)
    {
        if (!_spools.TryGetValue(shard, out SampleSpool? spool))
        {
            _spools[shard] = spool = new SampleSpool(SpoolPath(shard), shard * _layout.SamplesPerShard, Count(shard));
        }

        return spool;
    }

    private static string HashOf(string path)
    {
        using FileStream stream = File.OpenRead(path);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }

    private IEnumerable<FailedSample> ReadFailures(string shardName)
    {
        string path = _folder.PathOf(FailureFile.NameFor(shardName));
        return File.Exists(path) ? File.ReadLines(path).Select(line => FailureFile.Parse(System.Text.Encoding.UTF8.GetBytes(line))) : [];
    }

    private long End(long shard) => Math.Min(_totalSamples, (shard + 1) * _layout.SamplesPerShard);

    private long Count(long shard) => End(shard) - (shard * _layout.SamplesPerShard);

    private string SpoolPath(long shard) => Path.Combine(_folder.WorkPath, Path.GetFileNameWithoutExtension(_layout.ShardName(shard)) + ".spool");
}
