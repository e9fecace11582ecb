using System.Security.Cryptography;

namespace MetaQuery.Models.Checkpoints;

/// <summary>What is installed: the folders whose <c>config.json</c> says that they hold a MetaQuery model.</summary>
public static class ModelCatalog
{
    const string ModelType = "metaquery";

    /// <summary>Lists the models directly under a folder, by name; a folder that does not exist holds none.</summary>
    /// <param name="modelsFolder">The folder, such as <c>models</c>.</param>
    /// <param name="withSha256">Reads every file of weights in full.</param>
    /// <param name="cancellationToken">Looked at between files.</param>
    public static IReadOnlyList<InstalledModel> Find(string modelsFolder, bool withSha256 = true, CancellationToken cancellationToken = default)
    {
        if (!Directory.Exists(modelsFolder))
            return [];
        return [.. Directory.GetDirectories(modelsFolder).Order(StringComparer.Ordinal).Select(folder => Read(folder, withSha256, cancellationToken)).OfType<InstalledModel>()];
    }

    /// <summary>Describes one model folder; null for a folder that is no MetaQuery model.</summary>
    public static InstalledModel? Read(string folder, bool withSha256 = true, CancellationToken cancellationToken = default)
    {
        string full = Path.GetFullPath(folder), name = Path.GetFileName(Path.TrimEndingDirectorySeparator(full));
        string configPath = Path.Combine(full, HuggingFaceFolder.ConfigName);
        if (!File.Exists(configPath))
            return null;
        try
        {
            var config = ConfigFile.Open(configPath);
            if (config.OptionalString("model_type") is not ModelType)
                return null;
            return new InstalledModel(name, full, [.. Parts(full, config).Select(part => Describe(full, part, withSha256, cancellationToken))]);
        }
        catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException)
        {
            // A listing has a line for the model that is broken, too: what is wrong with it is what the reader came for.
            return new InstalledModel(name, full, [], e.Message.ReplaceLineEndings(" "));
        }
    }

    /// <summary>The weights below the folder: a part for each sub-folder, one for each file at the top; and the language model, which the
    /// configuration may place elsewhere.</summary>
    static IEnumerable<(string Name, string[] Files)> Parts(string folder, ConfigFile config)
    {
        string[] top = Weights(folder);
        var parts = top.GroupBy(StemOf).Select(group => (group.Key, group.ToArray()))
            .Concat(Directory.GetDirectories(folder).Order(StringComparer.Ordinal).Select(sub => (Path.GetFileName(sub), Weights(sub))))
            .Where(static part => part.Item2.Length > 0).ToList();
        string mllm = Path.GetFullPath(Path.Combine(folder, config.String("mllm", "mllm")));
        if (!parts.Exists(part => part.Item2.Contains(mllm) || Path.GetDirectoryName(part.Item2[0]) == mllm))
        {
            string[] files = File.Exists(mllm) ? [mllm] : Directory.Exists(mllm) ? Weights(mllm) : [];
            // a checkpoint of the reference holds the language model itself
            bool isInCheckpoint = top.Length > 0 && (File.Exists(Path.Combine(mllm, HuggingFaceFolder.ConfigName)) || config.Has("mllm_id"));
            if (files.Length > 0)
                parts.Add(("mllm", files));
            else if (!isInCheckpoint)
                throw config.Error("mllm", $"names {CheckpointException.Quote(mllm)}, where there are no weights");
        }
        return parts;
    }

    static string[] Weights(string folder) =>
        [.. Directory.GetFiles(folder).Where(static file => Path.GetExtension(file) is ".safetensors" or ".gguf").Order(StringComparer.Ordinal)];

    /// <summary>model-00001-of-00002.safetensors and its brothers are one part.</summary>
    static string StemOf(string file)
    {
        string stem = Path.GetFileNameWithoutExtension(file);
        int of = stem.LastIndexOf("-of-", StringComparison.Ordinal);
        int dash = of > 0 ? stem.LastIndexOf('-', of - 1) : -1;
        return dash > 0 ? stem[..dash] : stem;
    }

    static ModelPart Describe(string modelFolder, (string Name, string[] Files) part, bool withSha256, CancellationToken cancellationToken)
    {
        string first = part.Files[0], partFolder = Path.GetDirectoryName(first)!;
        bool isGguf = Path.GetExtension(first) is ".gguf";
        string? className, licence;
        if (isGguf)
        {
            using var gguf = GgufFile.Open(first);
            className = Text(gguf, "general.architecture");
            licence = Text(gguf, "general.license");
        }
        else
        {
            using var safetensors = SafetensorsFile.Open(first);
            licence = safetensors.Metadata.GetValueOrDefault("license");
            className = ClassName(partFolder);
        }
        licence ??= Licences.Of(partFolder) ?? Licences.Of(modelFolder);
        var files = part.Files.Select(file =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            return new ModelFile(Path.GetRelativePath(modelFolder, file).Replace('\\', '/'), new FileInfo(file).Length, withSha256 ? Sha256(file) : null);
        });
        return new ModelPart(part.Name, className, isGguf ? "GGUF" : "safetensors", licence, [.. files]);
    }

    static string? Text(GgufFile gguf, string key) => gguf.Metadata.TryGetValue(key, out var value) && value.Type == GgufValueType.String ? value.AsString() : null;

    static string? ClassName(string folder)
    {
        string path = Path.Combine(folder, HuggingFaceFolder.ConfigName);
        if (!File.Exists(path))
            return null;
        var config = ConfigFile.Open(path);
        return config.OptionalString("_class_name") ?? (config.Has("architectures") ? config.Strings("architectures").FirstOrDefault() : null) ?? config.OptionalString("model_type");
    }

    static string Sha256(string file)
    {
        using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0, FileOptions.SequentialScan);
        return Convert.ToHexStringLower(SHA256.HashData(stream));
    }
}
