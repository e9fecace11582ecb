using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Pipelines;

/// <summary>One file of a model folder.</summary>
/// <param name="Path">Relative to the folder, with forward slashes.</param>
/// <param name="Sha256">Lower-case hexadecimal.</param>
public sealed record ModelFile(string Path, long Bytes, string Sha256);

/// <summary>A MetaQuery model on disk: config.json, the MLLM, queries and connector (metaquery.safetensors or model.safetensors),
/// transformer/ (Sana) or unet/ (Stable Diffusion), vae/ and scheduler/; a checkpoint of the reference holds the parts' weights itself. Opening it finds
/// and checks the parts; it loads no weights.</summary>
public sealed class MetaQueryModelFolder
{
    private static readonly string[] WeightEndings = [".safetensors", ".gguf", ".json", ".txt", ".jinja", ".gz"];

    private readonly Lazy<IReadOnlyList<ModelFile>> _files;

    private MetaQueryModelFolder(string folder, MetaQueryConfig config, string mllm, string checkpoint, string network, string vae, string scheduler)
    {
        (Folder, Config, MllmPath, CheckpointPath, NetworkFolder, VaeFolder, SchedulerFolder) = (folder, config, mllm, checkpoint, network, vae, scheduler);
        _files = new Lazy<IReadOnlyList<ModelFile>>(ReadFiles);
    }

    /// <summary>An absolute path.</summary>
    public string Folder { get; }

    /// <summary>The folder's name, for people.</summary>
    public string Name => Path.GetFileName(Folder);

    public MetaQueryConfig Config { get; }

    /// <summary>A GGUF file, or a transformers folder.</summary>
    public string MllmPath { get; }

    public bool IsGguf => File.Exists(MllmPath);

    /// <summary>The file with the new token rows and the connector, or the index of its shards.</summary>
    public string CheckpointPath { get; }

    /// <summary>The diffusion network: transformer/, or unet/ where there is one.</summary>
    public string NetworkFolder { get; }

    public string VaeFolder { get; }

    public string SchedulerFolder { get; }

    /// <summary>Every file that shapes a result, by path. Read in full the first time it is asked for.</summary>
    /// <exception cref="CheckpointException">A file cannot be read.</exception>
    public IReadOnlyList<ModelFile> Files => _files.Value;

    /// <summary>SHA-256 over all that shapes a condition: configuration, MLLM, queries, connector.</summary>
    /// <exception cref="CheckpointException">A file cannot be read.</exception>
    public string ConditionRevision => Digest(Files.Where(file => !IsImagePart(file)));

    /// <summary>SHA-256 over all that turns a condition into a picture: configuration, transformer, autoencoder, scheduler.</summary>
    /// <exception cref="CheckpointException">A file cannot be read.</exception>
    public string ImageRevision => Digest(Files.Where(file => IsImagePart(file) || file.Path == "config.json" || (IsOwn(file) && HoldsImageWeights())));

    /// <summary>SHA-256 over the whole model.</summary>
    /// <exception cref="CheckpointException">A file cannot be read.</exception>
    public string Revision => Digest(Files);

    /// <exception cref="CheckpointException">The folder or a part is missing, or config.json is malformed.</exception>
    public static MetaQueryModelFolder Open(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        folder = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        if (!Directory.Exists(folder))
            throw new CheckpointException($"{folder}: there is no such model folder");
        var config = MetaQueryConfig.Read(Path.Combine(folder, "config.json"));
        var parts = ModelFolderParts.Find(folder, config);
        var mllm = parts.Mllm
            ?? throw new CheckpointException($"{folder}: config.json names the MLLM \"{config.Mllm}\", which is neither a GGUF file nor a folder with a config.json");
        var checkpoint = parts.Checkpoint
            ?? throw new CheckpointException($"{folder}: holds none of {string.Join(", ", ModelFolderParts.CheckpointNames)}, where the queries and the connector would be");
        foreach (var (part, found) in new[] { ("vae/config.json", parts.Vae), ("scheduler/scheduler_config.json", parts.Scheduler) })
        {
            if (found is null)
                throw new CheckpointException($"{folder}: {part} is missing");
        }

        return parts.Networks switch
        {
            [] => throw new CheckpointException($"{folder}: transformer/config.json is missing, and unet/config.json too: one of them is needed"),
            [var network] => new MetaQueryModelFolder(folder, config, mllm, checkpoint, network, parts.Vae!, parts.Scheduler!),
            _ => throw new CheckpointException($"{folder}: has both transformer/ and unet/, one diffusion network is needed"),
        };
    }

    /// <summary>Opens the checkpoint that holds the new token rows and the connector.</summary>
    /// <exception cref="CheckpointException">It is malformed.</exception>
    public WeightSource OpenCheckpoint() =>
        CheckpointPath.EndsWith(".json", StringComparison.Ordinal) ? ShardedSafetensors.Open(CheckpointPath) : SafetensorsFile.Open(CheckpointPath);

    /// <summary>Opens the diffusion network's weights: the checkpoint's own, which were trained with the queries, else its folder's.</summary>
    /// <exception cref="CheckpointException">There are none, or they are malformed.</exception>
    public PartWeights OpenNetworkWeights() => OpenPart(PartWeights.NetworkPrefix, NetworkFolder);

    /// <summary>Opens the autoencoder's weights: the checkpoint's own, else its folder's.</summary>
    /// <inheritdoc cref="OpenNetworkWeights" path="/exception"/>
    public PartWeights OpenVaeWeights() => OpenPart(PartWeights.VaePrefix, VaeFolder);

    /// <summary>The tensors of the half that makes conditions, by their headers.</summary>
    /// <exception cref="CheckpointException">A file is missing or malformed.</exception>
    public IReadOnlyList<WeightInfo> DescribeTextWeights()
    {
        using var checkpoint = OpenCheckpoint();
        var isMllmInCheckpoint = CheckpointWeights.HoldsMllm(this, checkpoint);
        var own = checkpoint.Keys.Where(key => !key.StartsWith(PartWeights.NetworkPrefix, StringComparison.Ordinal) && !key.StartsWith(PartWeights.VaePrefix, StringComparison.Ordinal)
            && (isMllmInCheckpoint || !key.StartsWith(MllmInContext.Backbone, StringComparison.Ordinal) || key.Contains("embed_tokens", StringComparison.Ordinal)))
            .Select(checkpoint.Describe).ToList();
        if (isMllmInCheckpoint)
            return own;
        using WeightSource mllm = IsGguf ? GgufFile.Open(MllmPath) : HuggingFaceFolder.Open(MllmPath).OpenWeights();
        return [.. own, .. mllm.Keys.Select(mllm.Describe)];
    }

    /// <summary>The tensors of the half that makes pictures, by their headers.</summary>
    /// <inheritdoc cref="DescribeTextWeights" path="/exception"/>
    public IReadOnlyList<WeightInfo> DescribeImageWeights()
    {
        using var network = OpenNetworkWeights();
        using var vae = OpenVaeWeights();
        return [.. network.Source.Keys.Select(network.Source.Describe), .. vae.Source.Keys.Select(vae.Source.Describe)];
    }

    private PartWeights OpenPart(string prefix, string folder)
    {
        var checkpoint = OpenCheckpoint();
        if (PartWeights.Holds(checkpoint, prefix))
            return new PartWeights(checkpoint, prefix);
        checkpoint.Dispose();
        return new PartWeights(HuggingFaceFolder.Open(folder).OpenWeights());
    }

    private bool HoldsImageWeights()
    {
        using var checkpoint = OpenCheckpoint();
        return PartWeights.Holds(checkpoint, PartWeights.NetworkPrefix) || PartWeights.Holds(checkpoint, PartWeights.VaePrefix);
    }

    private bool IsImagePart(ModelFile file) => Path.GetDirectoryName(Path.GetFullPath(Path.Combine(Folder, file.Path))) is { } part && (part == NetworkFolder || part == VaeFolder || part == SchedulerFolder);

    private bool IsOwn(ModelFile file) => !file.Path.Contains('/', StringComparison.Ordinal) && file.Path.EndsWith(".safetensors", StringComparison.Ordinal);

    private static string Digest(IEnumerable<ModelFile> files)
    {
        var text = new StringBuilder();
        foreach (var file in files)
            text.Append(CultureInfo.InvariantCulture, $"{file.Path}\0{file.Bytes}\0{file.Sha256}\n");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text.ToString())));
    }

    private List<ModelFile> ReadFiles()
    {
        try
        {
            var parts = new[] { NetworkFolder, VaeFolder, SchedulerFolder }.SelectMany(part => Directory.EnumerateFiles(part, "*", SearchOption.TopDirectoryOnly));
            var mllm = IsGguf ? [MllmPath] : Directory.EnumerateFiles(MllmPath, "*", SearchOption.TopDirectoryOnly);
            var own = Directory.EnumerateFiles(Folder, Path.GetFileName(CheckpointPath).EndsWith(".json", StringComparison.Ordinal) ? "model*" : Path.GetFileName(CheckpointPath));
            return
            [
                .. parts.Concat(mllm).Concat(own).Append(Path.Combine(Folder, "config.json"))
                    .Where(path => WeightEndings.Any(ending => path.EndsWith(ending, StringComparison.Ordinal)))
                    .Distinct(StringComparer.Ordinal)
                    .Select(path => (Full: path, Relative: Path.GetRelativePath(Folder, path).Replace('\\', '/')))
                    .OrderBy(path => path.Relative, StringComparer.Ordinal)
                    .Select(path => Hash(path.Full, path.Relative)),
            ];
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException($"{Folder}: {error.Message}", error);
        }
    }

    private static ModelFile Hash(string path, string relative)
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 1 << 20, FileOptions.SequentialScan);
        return new ModelFile(relative, file.Length, Convert.ToHexStringLower(SHA256.HashData(file)));
    }
}
