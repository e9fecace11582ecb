using System.Security.Cryptography;
using System.Text;
using MetaQuery.Data;
using MetaQuery.Farm;

namespace MetaQuery.Redis;

/// <summary>The folder of finished samples that workers leave for the head: a file per batch, of <see cref="SpoolRecord"/>s, synced before it is reported.</summary>
/// <remarks>A name is <c>WORKER-BATCH.mqsp</c>: 16 digits of the SHA-256 of the worker's name, and 16 random ones.</remarks>
internal sealed class SampleInbox(string folder)
{
    private const string Ending = ".mqsp";
    private const int WorkerDigits = 16;

    /// <summary>Writes a batch's samples.</summary>
    /// <returns>Where each lies, in order.</returns>
    /// <exception cref="StorageException">The folder is missing, full or read-only.</exception>
    public IReadOnlyList<InboxPlace> Write(string worker, IReadOnlyList<FinishedSample> samples)
    {
        string name = $"{WorkerMark(worker)}-{Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(8))}{Ending}";
        string path = PathOf(name);
        var places = new InboxPlace[samples.Count];
        using AtomicFile file = AtomicFile.Create(path);
        try
        {
            long offset = 0;
            for (int i = 0; i < places.Length; i++)
            {
                FinishedSample sample = samples[i];
                byte[] record = SpoolRecord.Create(SpoolKind.Sample, sample.Position, sample.Image.Span, sample.Caption.Span, sample.Json.Span);
                file.Stream.Write(record);
                places[i] = new InboxPlace(name, offset, sample.Position);
                offset += record.Length;
            }
        }
        catch (IOException exception)
        {
            throw StorageException.From(exception, path);
        }

        file.Commit();
        return places;
    }

    /// <returns>The sample; null where the file is missing or its record is damaged: it must be made again.</returns>
    /// <exception cref="StorageException">The folder cannot be read.</exception>
    public FinishedSample? TryRead(InboxPlace place)
    {
        if (!IsName(place.File))
        {
            return null;
        }

        string path = PathOf(place.File);
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            if (!SpoolRecord.TryRead(stream.SafeFileHandle, place.Offset, stream.Length, out SpoolRecord record) || record.Kind != SpoolKind.Sample || record.Position != place.Position)
            {
                return null;
            }

            (byte[] image, byte[] caption, byte[] json) = record.Parts();
            return new FinishedSample(place.Position, image, caption, json);
        }
        catch (FileNotFoundException)
        {
            return null;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, path);
        }
    }

    /// <exception cref="StorageException">It cannot be deleted.</exception>
    public void Delete(string file)
    {
        string path = PathOf(file);
        try
        {
            File.Delete(path);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, path);
        }
    }

    /// <summary>What lies in the folder: finished files and unfinished ones.</summary>
    /// <exception cref="StorageException">The folder cannot be read.</exception>
    public IReadOnlyList<InboxFile> List()
    {
        var found = new List<InboxFile>();
        FileInfo[] files;
        try
        {
            files = new DirectoryInfo(folder).GetFiles();
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, folder);
        }

        foreach (FileInfo file in files)
        {
            string finalName = file.Name.TrimStart('.');
            int end = finalName.IndexOf(Ending, StringComparison.Ordinal);
            if (end >= 0 && IsName(finalName[..(end + Ending.Length)]))
            {
                found.Add(new InboxFile(file.Name, finalName[..WorkerDigits], file.LastWriteTimeUtc));
            }
        }

        return found;
    }

    /// <exception cref="StorageException">The folder cannot be made.</exception>
    public void Create()
    {
        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, folder);
        }
    }

    public static string WorkerMark(string worker) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(worker)).AsSpan(0, WorkerDigits / 2));

    // a name comes out of Redis: nothing but a name of this folder may reach the file system
    private static bool IsName(string name) =>
        name.Length == WorkerDigits + 1 + 16 + Ending.Length
        && name.EndsWith(Ending, StringComparison.Ordinal)
        && name[WorkerDigits] == '-'
        && name.AsSpan(0, WorkerDigits).ContainsAnyExcept("0123456789abcdef") is false
        && name.AsSpan(WorkerDigits + 1, 16).ContainsAnyExcept("0123456789abcdef") is false;

    private string PathOf(string file) => Path.Combine(folder, file);
}

/// <summary>A file of the inbox folder.</summary>
/// <param name="Name">Its name there.</param>
/// <param name="WorkerMark">Tells which worker wrote it: <see cref="SampleInbox.WorkerMark"/>.</param>
/// <param name="WrittenAt">When, by the file system's clock.</param>
internal readonly record struct InboxFile(string Name, string WorkerMark, DateTime WrittenAt);
