using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A little space kept for when the disk is full: to cancel and to delete a job must be written down before they free any. Not thread-safe.</summary>
/// <param name="path">Its file: nothing but space.</param>
/// <param name="bytes">How much.</param>
internal sealed class DiskReserve(string path, int bytes)
{
    /// <summary>Takes the space, where it is not held.</summary>
    /// <exception cref="StorageException">There is none.</exception>
    public void Take()
    {
        if (!File.Exists(path) || new FileInfo(path).Length != bytes)
        {
            AtomicFile.WriteAllBytes(path, new byte[bytes]);
        }
    }

    /// <summary>Gives the space free.</summary>
    /// <returns>Whether there was any.</returns>
    public bool GiveUp()
    {
        if (!File.Exists(path))
        {
            return false;
        }

        File.Delete(path);
        return true;
    }
}
