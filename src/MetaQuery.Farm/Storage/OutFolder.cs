using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A job's folder, held by this process alone: job.json says whose it is, .farm holds what is unfinished.</summary>
internal sealed class OutFolder : IDisposable
{
    public const string JobFileName = "job.json";
    public const string WorkFolderName = ".farm";
    private const string LockFileName = "lock";

    private readonly FileStream _lock;

    private OutFolder(string path, FileStream held, IReadOnlyList<string> numerics)
    {
        FullPath = path;
        _lock = held;
        Numerics = numerics;
    }

    public string FullPath { get; }

    public string WorkPath => Path.Combine(FullPath, WorkFolderName);

    /// <summary>The fingerprints the folder's images were made with; the first is the job's own.</summary>
    public IReadOnlyList<string> Numerics { get; }

    public string PathOf(string name) => Path.Combine(FullPath, name);

    /// <summary>Takes the folder for a job: a new or empty one, or the one this same job began in.</summary>
    /// <exception cref="OutFolderInUseException">Another process holds it.</exception>
    /// <exception cref="OutFolderConflictException">It belongs to another job, or to no job and is not empty.</exception>
    /// <exception cref="ModelMismatchException">It was begun under other numerics, and that is not allowed.</exception>
    /// <exception cref="StorageException">It cannot be made or written to.</exception>
    public static OutFolder Take(string path, JobIdentity identity, string numerics, bool allowOtherNumerics)
    {
        string full = Path.GetFullPath(path);
        Peek(path, identity); // before the lock: who is refused learns which fields differ also while the other job runs
        FileStream held = Lock(full, path);
        try
        {
            AtomicFile.RemoveLeftovers(full);
            string jobPath = Path.Combine(full, JobFileName);
            List<string> known = [];
            if (File.Exists(jobPath))
            {
                (JobIdentity theirs, IReadOnlyList<string> begunWith) = Read(jobPath);
                RefuseOther(path, identity, theirs);
                known = [.. begunWith];
            }

            if (!known.Contains(numerics))
            {
                if (known.Count > 0 && !allowOtherNumerics)
                {
                    throw new ModelMismatchException(
                        $"{path} was begun with {known[0]}, but here images would be made with {numerics} and could differ in their last bits; --allow-other-numerics goes on all the same");
                }

                known.Add(numerics);
                AtomicFile.WriteAllBytes(jobPath, identity.ToJson(known));
            }

            return new OutFolder(full, held, known);
        }
        catch
        {
            held.Dispose();
            throw;
        }
    }

    /// <summary>Looks without taking: refuses what <see cref="Take"/> would refuse as another's.</summary>
    /// <returns>Whether the folder holds this job's beginning.</returns>
    public static bool Peek(string path, JobIdentity identity)
    {
        string full = Path.GetFullPath(path);
        RefuseForeign(full, path);
        string jobPath = Path.Combine(full, JobFileName);
        if (!File.Exists(jobPath))
        {
            return false;
        }

        RefuseOther(path, identity, Read(jobPath).Identity);
        return true;
    }

    /// <summary>Removes all that only an unfinished job needs. The lock's file stays: removing it would let two processes hold two of them.</summary>
    /// <exception cref="StorageException">Something cannot be removed.</exception>
    public void RemoveWork()
    {
        try
        {
            foreach (string entry in Directory.EnumerateFileSystemEntries(WorkPath))
            {
                if (Directory.Exists(entry))
                {
                    Directory.Delete(entry, recursive: true);
                }
                else if (Path.GetFileName(entry) != LockFileName)
                {
                    File.Delete(entry);
                }
            }
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, WorkPath);
        }
    }

    public void Dispose() => _lock.Dispose();

    private static (JobIdentity Identity, IReadOnlyList<string> Numerics) Read(string jobPath)
    {
        try
        {
            return JobIdentity.Parse(File.ReadAllBytes(jobPath), jobPath);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, jobPath);
        }
    }

    private static void RefuseForeign(string full, string path)
    {
        if (File.Exists(full))
        {
            throw new OutFolderConflictException($"{path} is a file; name a folder for the output", []);
        }

        if (!Directory.Exists(full) || File.Exists(Path.Combine(full, JobFileName)))
        {
            return;
        }

        // a process that died before it wrote job.json leaves its work folder and partial files, whose names start with a dot
        string? foreign = Directory.EnumerateFileSystemEntries(full).Select(Path.GetFileName).Order()
            .FirstOrDefault(name => name is not null && !name.StartsWith('.'));
        if (foreign is not null)
        {
            throw new OutFolderConflictException($"{path} holds {foreign} but no {JobFileName}: it belongs to no job; name a new or an empty folder", []);
        }
    }

    private static void RefuseOther(string path, JobIdentity ours, JobIdentity theirs)
    {
        IReadOnlyList<(string Field, string Theirs, string Ours)> differences = ours.DifferencesFrom(theirs);
        if (differences.Count == 0)
        {
            return;
        }

        string list = string.Join("; ", differences.Select(field => $"{field.Field} (there {Short(field.Theirs)}, here {Short(field.Ours)})"));
        throw new OutFolderConflictException($"{path} belongs to another job, which differs in {list}; name another folder", differences);
    }

    private static string Short(string value)
    {
        string line = value.ReplaceLineEndings(" ");
        return line.Length == 0 ? "\"\"" : line.Length <= 40 ? line : line[..37] + "...";
    }

    private static FileStream Lock(string full, string path)
    {
        string work = Path.Combine(full, WorkFolderName);
        try
        {
            Directory.CreateDirectory(work);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, path);
        }

        return FolderLock.TryTake(Path.Combine(work, LockFileName))
            ?? throw new OutFolderInUseException($"{path} is in use by another process that runs a job in it");
    }
}
