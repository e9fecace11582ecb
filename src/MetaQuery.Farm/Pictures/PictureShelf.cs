namespace MetaQuery.Farm;

/// <summary>The pictures of a head's jobs, each once for all of them; one that no job names any more goes. Thread-safe.</summary>
/// <remarks>In memory some fifty bytes a picture. What a job holds is written in its <see cref="PictureIndex"/>, and counted anew when a head starts.</remarks>
internal sealed class PictureShelf(PictureFolder folder)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _holders = new(StringComparer.Ordinal);

    /// <summary>At a head's start: counts what its jobs hold, and removes the rest.</summary>
    /// <param name="jobFolders">Of all jobs.</param>
    public void Count(IEnumerable<string> jobFolders)
    {
        bool isWhole = true;
        foreach (string job in jobFolders)
        {
            HashSet<string>? hashes = HashesOf(job);
            isWhole &= hashes is not null;
            Hold(hashes ?? []);
        }

        folder.RemoveLeftovers();
        if (!isWhole)
        {
            return; // what an index that cannot be read names is not known: the next start removes what is too much
        }

        foreach (string sha256 in folder.List().Where(sha256 => !_holders.ContainsKey(sha256)).ToList())
        {
            folder.Remove(sha256);
        }
    }

    /// <summary>Takes pictures for a job that is being submitted.</summary>
    public Intake Begin() => new(this);

    /// <summary>A job is deleted; its folder is still there.</summary>
    public void Release(string jobFolder) => Release(HashesOf(jobFolder) ?? []);

    /// <returns>Null where the index cannot be read.</returns>
    private static HashSet<string>? HashesOf(string jobFolder)
    {
        try
        {
            return PictureIndex.Find(jobFolder) is { } index ? [.. JobPictures.Hashes(index)] : [];
        }
        catch (Data.PromptFileException)
        {
            return null; // the job fails by it when it is opened, with this reason
        }
    }

    private void Hold(IEnumerable<string> hashes)
    {
        lock (_gate)
        {
            foreach (string sha256 in hashes)
            {
                _holders[sha256] = _holders.GetValueOrDefault(sha256) + 1;
            }
        }
    }

    private void Release(IEnumerable<string> hashes)
    {
        lock (_gate)
        {
            foreach (string sha256 in hashes)
            {
                if (_holders.GetValueOrDefault(sha256) <= 1)
                {
                    _holders.Remove(sha256);
                    folder.Remove(sha256);
                }
                else
                {
                    _holders[sha256]--;
                }
            }
        }
    }

    /// <summary>What one submission brings. Dispose lets go of all that the job does not keep.</summary>
    public sealed class Intake(PictureShelf shelf) : IPictureKeeper, IDisposable
    {
        private readonly HashSet<string> _held = new(StringComparer.Ordinal);

        public void Keep(string sha256, ReadOnlySpan<byte> file)
        {
            if (_held.Add(sha256))
            {
                shelf.Hold([sha256]); // first: nobody's end removes it from here on
                shelf.Folder.Keep(sha256, file);
            }
        }

        /// <summary>The job is promised: it holds what its index names from now on.</summary>
        public void HandOver(string jobFolder) => _held.ExceptWith(HashesOf(jobFolder) ?? [.. _held]);

        public void Dispose()
        {
            shelf.Release(_held);
            _held.Clear();
        }
    }

    private PictureFolder Folder => folder;
}
