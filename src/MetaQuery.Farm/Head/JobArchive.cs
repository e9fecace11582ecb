using System.Text;
using System.Text.Json;
using MetaQuery.Data;
using MetaQuery.Imaging;
using Microsoft.Win32.SafeHandles;

namespace MetaQuery.Farm;

/// <summary>Reads a job's folder while it is worked on and long after: samples, failures, files. Thread-safe; changes nothing.</summary>
internal sealed class JobArchive
{
    private readonly string _folder;
    private readonly ShardLayout _layout;
    private readonly ImageFormat _format;
    private readonly long _images;
    private readonly JobSession? _session;

    /// <param name="folder">The job's out folder; it may not be there yet.</param>
    /// <param name="settings">The job's.</param>
    /// <param name="images">In the job.</param>
    /// <param name="session">Where it is open: what is not in a shard yet is asked of it.</param>
    public JobArchive(string folder, ResolvedSettings settings, long images, JobSession? session)
    {
        _folder = folder;
        _format = settings.Format;
        _images = images;
        _layout = ShardLayout.For(images, settings.SamplesPerShard);
        _session = session;
    }

    public SamplePage ListSamples(long from, int most)
    {
        var found = new List<SampleView>();
        foreach ((long shard, bool isFinished) in Shards().Where(shard => shard.Shard >= _layout.ShardOf(from)))
        {
            foreach ((long position, Func<Sample?> read) in Positions(shard, isFinished).SkipWhile(sample => sample.Position < from))
            {
                if (found.Count == most)
                {
                    return new SamplePage(found, position);
                }

                if (read() is { } sample)
                {
                    found.Add(ViewOf(position, sample));
                }
            }
        }

        return new SamplePage(found, null);
    }

    /// <returns>Null where there is no such sample (yet).</returns>
    public SampleContent? Read(long position)
    {
        if (position < 0 || position >= _images)
        {
            return null;
        }

        Sample? sample = FromSession(position);
        return sample is null ? null : new SampleContent(ViewOf(position, sample), sample.Image, MediaTypeOf(ImageEncoder.Extension(_format)));
    }

    public IReadOnlyList<FailedSample> ListFailures(int most)
    {
        if (_session is not null)
        {
            return _session.ListFailures(most);
        }

        var failures = new List<FailedSample>();
        foreach ((long shard, bool isFinished) in Shards())
        {
            if (failures.Count >= most)
            {
                break;
            }

            if (isFinished)
            {
                string path = Path.Combine(_folder, FailureFile.NameFor(_layout.ShardName(shard)));
                failures.AddRange(File.Exists(path) ? File.ReadLines(path).Select(line => FailureFile.Parse(Encoding.UTF8.GetBytes(line))) : []);
            }
            else
            {
                failures.AddRange(SpoolRecords(shard).Where(entry => entry.Record.Kind == SpoolKind.Failure).OrderBy(entry => entry.Record.Position)
                    .Select(entry => FailureFile.Parse(entry.Record.Parts().First)));
            }
        }

        return [.. failures.Take(most)];
    }

    /// <summary>Finished shards with their failures' lists; the manifest and the contact sheet once they are there.</summary>
    public IReadOnlyList<JobFile> ListFiles()
    {
        var files = new List<JobFile>();
        IReadOnlyDictionary<string, ShardEntry> entries = Manifested();
        foreach (ShardEntry entry in entries.Values.OrderBy(entry => entry.Shard, StringComparer.Ordinal))
        {
            Add(entry.Shard, entry.Sha256);
            if (entry.FailedCount > 0)
            {
                Add(FailureFile.NameFor(entry.Shard), null);
            }
        }

        if (entries.Count > 0)
        {
            Add(Manifest.FileName, null);
        }

        Add("contact-sheet.png", null);
        return files;

        void Add(string name, string? sha256)
        {
            var file = new FileInfo(Path.Combine(_folder, name));
            if (file.Exists)
            {
                files.Add(new JobFile(name, file.Length, MediaTypeOf(file.Extension[1..]), sha256));
            }
        }
    }

    /// <summary>Opens a file that <see cref="ListFiles"/> lists.</summary>
    /// <returns>Null for any other name.</returns>
    public Stream? Open(string name) => ListFiles().FirstOrDefault(file => file.Name == name) is { } known
        ? new FileStream(Path.Combine(_folder, known.Name), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1 << 16, FileOptions.Asynchronous)
        : null;

    /// <summary>Samples in the spools of some shards.</summary>
    public long CountSpooled(Func<string, bool> shards) => SpoolFiles().Where(shard => shards(_layout.ShardName(shard)))
        .Sum(shard => SpoolRecords(shard).Where(entry => entry.Record.Kind == SpoolKind.Sample).Select(entry => entry.Record.Position).Distinct().LongCount());

    private sealed record Sample(ReadOnlyMemory<byte> Image, ReadOnlyMemory<byte> Caption, ReadOnlyMemory<byte> Json);

    /// <summary>Shards that hold anything, ascending.</summary>
    private IEnumerable<(long Shard, bool IsFinished)> Shards()
    {
        // what is unfinished first: a shard that is finished between the two looks is in the manifest then
        IReadOnlyList<long> open = [.. _session?.OpenShards() ?? SpoolFiles()];
        var shards = new SortedDictionary<long, bool>();
        foreach (string name in Manifested().Keys)
        {
            shards[NumberOf(name)] = true;
        }

        foreach (long shard in open)
        {
            shards[shard] = false;
        }

        return shards.Select(shard => (shard.Key, shard.Value));
    }

    private IEnumerable<(long Position, Func<Sample?> Read)> Positions(long shard, bool isFinished)
    {
        string name = _layout.ShardName(shard);
        if (!isFinished)
        {
            if (_session?.PositionsIn(shard) is { } open)
            {
                return open.Select(position => (position, (Func<Sample?>)(() => FromSession(position))));
            }

            // the places alone are sorted: a spool's images together may be more than fits into memory
            (long Position, long Offset)[] places =
            [
                .. SpoolRecords(shard).Where(entry => entry.Record.Kind == SpoolKind.Sample).Select(entry => (entry.Record.Position, entry.Offset))
                    .OrderBy(place => place.Position),
            ];
            if (places.Length > 0 || !Manifested().ContainsKey(name))
            {
                return places.Select(place => (place.Position, (Func<Sample?>)(() => FromSpool(shard, place.Position, place.Offset))));
            }
        }

        ShardIndex index = ShardIndexCache.Open(Path.Combine(_folder, name));
        int keyDigits = _layout.Key(0).Length - Path.GetFileNameWithoutExtension(name).Length;
        return index.Keys.Select(key => (
            (shard * _layout.SamplesPerShard) + long.Parse(key.AsSpan(key.Length - keyDigits)), (Func<Sample?>)(() => Of(index.Read(key)))));
    }

    /// <summary>From the session, or from where it is by now: its shard may have been finished, or the job let go, since it was looked for.</summary>
    private Sample? FromSession(long position) =>
        _session?.TryRead(position) is { } sample ? new Sample(sample.Image, sample.Caption, sample.Json) : FromShard(position) ?? FromSpool(position);

    private Sample? FromShard(long position)
    {
        string name = _layout.ShardName(_layout.ShardOf(position));
        return Manifested().ContainsKey(name) ? Of(ShardIndexCache.Open(Path.Combine(_folder, name)).Read(_layout.Key(position))) : null;
    }

    private Sample? FromSpool(long position) => _session is { IsClosed: false }
        ? null // it would have had it
        : SpoolRecords(_layout.ShardOf(position)).Where(entry => entry.Record.Kind == SpoolKind.Sample && entry.Record.Position == position)
            .Select(entry => entry.Record.Parts() is var (image, caption, json) ? new Sample(image, caption, json) : null).FirstOrDefault();

    /// <summary>From a place in a spool, or from the shard that was made of it meanwhile.</summary>
    private Sample? FromSpool(long shard, long position, long offset)
    {
        string path = SpoolPath(shard);
        if (!File.Exists(path))
        {
            return FromShard(position);
        }

        using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        return SpoolRecord.TryRead(file, offset, RandomAccess.GetLength(file), out SpoolRecord record)
            && record.Kind == SpoolKind.Sample && record.Position == position && record.Parts() is var (image, caption, json)
            ? new Sample(image, caption, json)
            : null;
    }

    private Sample? Of(ShardSample? sample) => sample is null
        ? null
        : new Sample(sample.Find(ImageEncoder.Extension(_format)) ?? default, sample.Find("txt") ?? default, sample.Find("json") ?? default);

    private SampleView ViewOf(long position, Sample sample)
    {
        using JsonDocument json = JsonDocument.Parse(sample.Json);
        return new SampleView(
            position, _layout.Key(position), Encoding.UTF8.GetString(sample.Caption.Span), json.RootElement.GetProperty("sample_index").GetInt32(),
            Encoding.UTF8.GetString(sample.Json.Span));
    }

    private IReadOnlyDictionary<string, ShardEntry> Manifested()
    {
        string path = Path.Combine(_folder, Manifest.FileName);
        if (!File.Exists(path))
        {
            return new Dictionary<string, ShardEntry>();
        }

        using Manifest manifest = Manifest.Load(path);
        return manifest.Shards;
    }

    private IEnumerable<long> SpoolFiles()
    {
        string work = Path.Combine(_folder, OutFolder.WorkFolderName);
        return Directory.Exists(work)
            ? Directory.EnumerateFiles(work, "*.spool").Select(Path.GetFileNameWithoutExtension)
                .Where(name => name!.All(char.IsAsciiDigit)).Select(name => long.Parse(name!)).Order()
            : [];
    }

    private string SpoolPath(long shard) =>
        Path.Combine(_folder, OutFolder.WorkFolderName, Path.GetFileNameWithoutExtension(_layout.ShardName(shard)) + ".spool");

    private IEnumerable<(long Offset, SpoolRecord Record)> SpoolRecords(long shard)
    {
        string path = SpoolPath(shard);
        if (!File.Exists(path))
        {
            yield break;
        }

        using SafeFileHandle file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        long length = RandomAccess.GetLength(file);
        for (long at = 0; SpoolRecord.TryRead(file, at, length, out SpoolRecord record); at += record.ByteLength)
        {
            yield return (at, record);
        }
    }

    private long NumberOf(string shardName) => long.Parse(Path.GetFileNameWithoutExtension(shardName));

    private static string MediaTypeOf(string extension) => extension switch
    {
        "png" => "image/png",
        "jpg" => "image/jpeg",
        "webp" => "image/webp",
        "tar" => "application/x-tar",
        _ => "application/jsonl",
    };
}
