using System.Text;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>The head's folder, held by one process: <c>lock</c>, <c>journal/</c>, <c>jobs/ID/</c>, <c>conditions/</c>, <c>inbox/</c>, <c>pictures/</c>, <c>farm.id</c>.</summary>
public sealed class DataFolder : IDisposable
{
    private const string LockFileName = "lock";
    private const string IdFileName = "farm.id";

    private readonly FileStream _lock;

    private DataFolder(string path, FileStream held)
    {
        FullPath = path;
        _lock = held;
    }

    public string FullPath { get; }

    public string JournalPath => Path.Combine(FullPath, "journal");

    /// <summary>What workers of this process hold, for a queue in memory.</summary>
    public string LeasesPath => Path.Combine(FullPath, "leases");

    public string JobsPath => Path.Combine(FullPath, "jobs");

    /// <summary>The disk tier of the condition cache.</summary>
    public string ConditionsPath => Path.Combine(FullPath, "conditions");

    /// <summary>The pictures that jobs' prompts are about, by hash; workers read them here.</summary>
    public string PicturesPath => PicturesOf(FullPath);

    /// <summary>The same in a data folder as a worker sees it.</summary>
    public static string PicturesOf(string dataFolder) => Path.Combine(dataFolder, "pictures");

    /// <summary>The folder's own name, which tells it from an empty mount point and from another farm's.</summary>
    /// <returns>Null where it has none: no head that needs one has had it.</returns>
    /// <exception cref="StorageException">It cannot be read.</exception>
    public static string? IdOf(string path)
    {
        string file = Path.Combine(path, IdFileName);
        try
        {
            return File.Exists(file) ? File.ReadAllText(file).Trim() : null;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, file);
        }
    }

    /// <summary>The same of this folder; it is given one where it has none.</summary>
    /// <exception cref="StorageException">It cannot be read, or written.</exception>
    public string RequireId()
    {
        if (IdOf(FullPath) is { } known)
        {
            return known;
        }

        string made = Guid.NewGuid().ToString("n");
        AtomicFile.WriteAllBytes(Path.Combine(FullPath, IdFileName), Encoding.ASCII.GetBytes(made + "\n"));
        return made;
    }

    /// <summary>Takes the folder; makes it where it is missing.</summary>
    /// <exception cref="DataFolderInUseException">A running head holds it.</exception>
    /// <exception cref="StorageException">It cannot be made or written to.</exception>
    public static DataFolder Take(string path)
    {
        string full = Path.GetFullPath(path);
        try
        {
            Directory.CreateDirectory(Path.Combine(full, "jobs"));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, path);
        }

        FileStream held = FolderLock.TryTake(Path.Combine(full, LockFileName))
            ?? throw new DataFolderInUseException($"{path} is in use by another head; stop that one, or name another folder with --data");
        return new DataFolder(full, held);
    }

    /// <param name="jobId">An id that the head itself gave: it never comes from a request unlooked-up.</param>
    public string JobPath(string jobId) => Path.Combine(JobsPath, jobId);

    public string OutPath(string jobId) => Path.Combine(JobsPath, jobId, "out");

    public void Dispose() => _lock.Dispose();
}
