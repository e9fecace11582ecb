using MetaQuery.TestKit;

namespace MetaQuery.Pipelines.Tests;

/// <summary>A golden case of conditions as a model folder: the MLLM's configuration in mllm/, the reference's full checkpoint beside it. The picture's
/// half is only named, not there.</summary>
internal sealed class TinyModelFolder : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-tiny-").FullName;

    public TinyModelFolder(string name)
    {
        Case = Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", name);
        Copy(Path.Combine(Case, "checkpoint"), _folder);
        Copy(Path.Combine(Case, "mllm"), Path.Combine(_folder, "mllm"));
        foreach (var part in new[] { "transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json" })
        {
            Directory.CreateDirectory(Path.Combine(_folder, Path.GetDirectoryName(part)!));
            File.WriteAllText(Path.Combine(_folder, part), "{}");
        }

        Folder = MetaQueryModelFolder.Open(_folder);
    }

    /// <summary>The golden case's own folder.</summary>
    public string Case { get; }

    public MetaQueryModelFolder Folder { get; }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in Directory.GetFiles(from))
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
    }
}
