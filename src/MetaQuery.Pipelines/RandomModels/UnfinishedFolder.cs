namespace MetaQuery.Pipelines.RandomModels;

/// <summary>Where a folder is written until it is whole. A marker, held open as long as somebody writes, tells it from folders that are a person's.</summary>
internal sealed class UnfinishedFolder : IDisposable
{
    private const string MarkerName = ".models-random";

    private readonly FileStream _marker;
    private bool _isDone;

    private UnfinishedFolder(string path, FileStream marker) => (Path, _marker) = (path, marker);

    public string Path { get; }

    /// <summary>Begins; what a call that was killed left is removed.</summary>
    /// <exception cref="PipelineException">A folder of this name is none of ours, or is being written.</exception>
    public static UnfinishedFolder Begin(string path)
    {
        var marker = System.IO.Path.Combine(path, MarkerName);
        if (Directory.Exists(path) && Directory.EnumerateFileSystemEntries(path).Any()) // an empty one was left before it had its marker
        {
            if (!File.Exists(marker))
                throw new PipelineException($"{path}: would be written to, but is there already and was not left by models random; move it away, or name another folder");
            Open(marker).Dispose();
            Directory.Delete(path, recursive: true);
        }

        Directory.CreateDirectory(path);
        return new UnfinishedFolder(path, Open(marker));
    }

    /// <summary>It is whole.</summary>
    /// <param name="folder">Not there, or empty.</param>
    public void MoveTo(string folder)
    {
        if (Directory.Exists(folder))
            Directory.Delete(folder);
        Directory.Move(Path, folder);
        _isDone = true;
        File.Delete(System.IO.Path.Combine(folder, MarkerName)); // not before: a call that is killed leaves a marker, or a whole folder
    }

    public void Dispose()
    {
        _marker.Dispose();
        if (!_isDone && Directory.Exists(Path))
            Directory.Delete(Path, recursive: true);
    }

    private static FileStream Open(string marker)
    {
        try
        {
            return new FileStream(marker, FileMode.OpenOrCreate, FileAccess.Write, FileShare.None);
        }
        catch (IOException exception) when (exception is not (DirectoryNotFoundException or FileNotFoundException) && File.Exists(marker))
        {
            throw new PipelineException($"{System.IO.Path.GetDirectoryName(marker)}: another models random writes there; wait for its end, or name another folder", exception);
        }
    }
}
