using System.Collections;
using System.Text;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>Commits samples to spools, and whole spools to shards in key order; a shard counts once its manifest line is there.</summary>
/// <remarks>Shards are finished in ascending order, so that the manifest's lines do not tell of chance. Thread-safe, but for <see cref="FinishShards"/>.</remarks>
internal sealed partial class ShardedSampleStore : ISampleStore
{
    private const string SheetName = "contact-sheet.png";

    private readonly OutFolder _folder;
    private readonly ShardLayout _layout;
    private readonly string _extension;
    private readonly ContactSheetPicks _picks;
    private readonly Manifest _manifest;
    private readonly SpoolShelf _spools;
    private readonly Lock _gate = new();
    private readonly BitArray _finishedShards;
    private long _nextShard;

    private readonly bool _wasComplete;

    private ShardedSampleStore(OutFolder folder, JobPlan plan, JobIdentity identity, ContactSheetPicks picks, bool retryFailed)
    {
        _folder = folder;
        _layout = plan.Layout;
        _extension = ImageEncoder.Extension(plan.Settings.Format);
        _picks = picks;
        _spools = new SpoolShelf(folder.WorkPath, plan.Layout, plan.ImageCount);
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

            RecoveredShards found = ShardRecovery.Run(folder, plan, _manifest, _spools, retryFailed);
            _finishedShards = found.Finished;
            WrittenCount = found.Written;
            FailedCount = found.Failed;
            Retried = found.Retried;
            Flush(); // what a process before this one appended may not have been synced
            FinishWhatIsWhole();
            _wasComplete = IsComplete;
        }
        catch
        {
            _spools.Dispose();
            _manifest.Dispose();
            throw;
        }
    }

    public long WrittenCount { get; private set; }

    public long FailedCount { get; private set; }

    public IReadOnlyList<long> Retried { get; }

    public IReadOnlyList<string> Numerics => _folder.Numerics;

    /// <summary>Takes a job's folder and recovers what is in it. May take seconds for a large job.</summary>
    /// <param name="plan">The job.</param>
    /// <param name="path">Its folder.</param>
    /// <param name="allowOtherNumerics">Go on although the folder's images were made with others.</param>
    /// <param name="retryFailed">Forget failures of earlier runs; shards with gaps are opened again.</param>
    /// <param name="sheetImages">Pictures on the contact sheet, at most; 0 for none.</param>
    /// <exception cref="FarmException">The folder is in use, another job's, or of other numerics.</exception>
    /// <exception cref="StorageException">It cannot be read or written.</exception>
    public static ShardedSampleStore Open(JobPlan plan, string path, bool allowOtherNumerics, bool retryFailed, int sheetImages)
    {
        JobIdentity identity = JobIdentity.Create(plan);
        OutFolder folder = OutFolder.Take(path, identity, plan.Images.Numerics.ToString(), allowOtherNumerics);
        ContactSheetPicks? picks = null;
        try
        {
            picks = new ContactSheetPicks(folder.WorkPath, plan.PromptCount, plan.Settings.ImagesPerPrompt, sheetImages);
            return new ShardedSampleStore(folder, plan, identity, picks, retryFailed);
        }
        catch
        {
            picks?.Dispose();
            folder.Dispose();
            throw;
        }
    }

    public bool IsComplete => Volatile.Read(ref _nextShard) == _finishedShards.Count;

    public bool HasFullShard
    {
        get
        {
            lock (_gate)
            {
                return _nextShard < _finishedShards.Count && (_finishedShards[(int)_nextShard] || _spools.Find(_nextShard) is { IsFull: true });
            }
        }
    }

    public bool IsSettled(long position)
    {
        lock (_gate)
        {
            long shard = _layout.ShardOf(position);
            return _finishedShards[(int)shard] || _spools.Find(shard)?.KindOf(position) is not null;
        }
    }

    public bool Add(FinishedSample sample)
    {
        lock (_gate)
        {
            long shard = _layout.ShardOf(sample.Position);
            bool isNew = !_finishedShards[(int)shard]
                && _spools.Append(shard, SpoolKind.Sample, sample.Position, sample.Image.Span, sample.Caption.Span, sample.Json.Span);
            WrittenCount += isNew ? 1 : 0;
            return isNew;
        }
    }

    public bool Fail(long position, FailedSample failure)
    {
        lock (_gate)
        {
            long shard = _layout.ShardOf(position);
            bool isNew = !_finishedShards[(int)shard] && _spools.Append(shard, SpoolKind.Failure, position, FailureFile.ToLine(failure), [], []);
            FailedCount += isNew ? 1 : 0;
            return isNew;
        }
    }

    public void Flush() => _spools.Flush();

    public IReadOnlyList<long> OpenShards() => _spools.Shards;

    public IReadOnlyList<long>? PositionsIn(long shard) => _spools.Find(shard)?.Positions(SpoolKind.Sample);

    public FinishedSample? TryRead(long position) =>
        _spools.Find(_layout.ShardOf(position)) is { } spool && spool.KindOf(position) == SpoolKind.Sample && spool.TryRead(position) is var (image, caption, json)
            ? new FinishedSample(position, image, caption, json)
            : null;

    public IReadOnlyList<FailedSample> ListFailures(int most)
    {
        // the spools first: a shard that is finished between the two looks is in the manifest then
        var found = new SortedDictionary<string, IReadOnlyList<FailedSample>>(StringComparer.Ordinal);
        foreach (long shard in _spools.Shards)
        {
            if (_spools.Find(shard) is { FailureCount: > 0 } spool)
            {
                found[_layout.ShardName(shard)] = [.. spool.Positions(SpoolKind.Failure).Take(most)
                    .Select(position => spool.TryRead(position)).Where(record => record is not null).Select(record => FailureFile.Parse(record!.Value.First))];
            }
        }

        foreach (ShardEntry entry in _manifest.Shards.Values.Where(entry => entry.FailedCount > 0))
        {
            string path = _folder.PathOf(FailureFile.NameFor(entry.Shard));
            if ((!found.TryGetValue(entry.Shard, out IReadOnlyList<FailedSample>? spooled) || spooled.Count < entry.FailedCount) && IsFinished(entry) && File.Exists(path))
            {
                found[entry.Shard] = [.. File.ReadLines(path).Take(most).Select(line => FailureFile.Parse(Encoding.UTF8.GetBytes(line)))];
            }
        }

        return [.. found.Values.SelectMany(failures => failures).Take(most)];

        bool IsFinished(ShardEntry entry)
        {
            lock (_gate)
            {
                return _finishedShards[(int)long.Parse(Path.GetFileNameWithoutExtension(entry.Shard))]; // not one that a retry opened again
            }
        }
    }

    public string? DrawSheet()
    {
        string sheet = _folder.PathOf(SheetName);
        if (_wasComplete && File.Exists(sheet))
        {
            return sheet;
        }

        CollectPicks();
        return _picks.Draw(sheet);
    }

    public void WriteStats(JobState state, JobProgress progress, JobStats stats, int slots)
    {
        string path = _folder.PathOf(StatsFile.Name);
        if (!_wasComplete || !File.Exists(path))
        {
            StatsFile.Write(path, state, progress, stats, string.Join(" | ", _folder.Numerics), slots);
        }
    }

    public void RemoveWork() => _folder.RemoveWork();

    public void Dispose()
    {
        _spools.Dispose();
        _manifest.Dispose();
        _picks.Dispose();
        _folder.Dispose();
    }
}
