using System.Text.Json;

namespace MetaQuery.Models.Checkpoints;

/// <summary>One part that a <c>model_index.json</c> names: its class, and the library that the class belongs to.</summary>
public sealed record PipelineComponent(string Name, string Library, string ClassName);

/// <summary>A folder as transformers and diffusers lay it out: <c>config.json</c> and weights, single or in shards; or a pipeline of
/// such folders under a <c>model_index.json</c>.</summary>
public sealed class HuggingFaceFolder
{
    public const string ConfigName = "config.json";
    public const string SchedulerConfigName = "scheduler_config.json";
    public const string ModelIndexName = "model_index.json";

    /// <summary>What transformers and diffusers call their weights.</summary>
    static readonly string[] Stems = ["model", "diffusion_pytorch_model"];

    /// <summary>Variants that hold the same weights in another dtype; others, such as non_ema, are other weights.</summary>
    static readonly string[] DtypeVariants = ["fp32", "fp16", "bf16"];

    HuggingFaceFolder(string path) => Path = path;

    public string Path { get; }

    /// <exception cref="CheckpointException">There is no such folder.</exception>
    public static HuggingFaceFolder Open(string path) => Directory.Exists(path) ? new HuggingFaceFolder(path)
        : throw CheckpointException.OfFile(path, File.Exists(path) ? "it is a file, a model folder was expected" : "there is no such folder");

    /// <summary>Reads <c>config.json</c>.</summary>
    /// <exception cref="CheckpointException">It is missing or malformed.</exception>
    public ConfigFile ReadConfig() => ConfigFile.Open(System.IO.Path.Combine(Path, ConfigName));

    /// <summary>Reads <c>scheduler_config.json</c>.</summary>
    /// <exception cref="CheckpointException">It is missing or malformed.</exception>
    public ConfigFile ReadSchedulerConfig() => ConfigFile.Open(System.IO.Path.Combine(Path, SchedulerConfigName));

    /// <summary>The folder of a pipeline's part.</summary>
    /// <exception cref="CheckpointException">There is no such folder.</exception>
    public HuggingFaceFolder Component(string name) => Open(System.IO.Path.Combine(Path, name));

    /// <summary>The parts that <c>model_index.json</c> names; those without a class (a missing safety checker) are left out.</summary>
    /// <exception cref="CheckpointException">It is missing or malformed.</exception>
    public IReadOnlyList<PipelineComponent> ReadModelIndex()
    {
        var index = ConfigFile.Open(System.IO.Path.Combine(Path, ModelIndexName));
        var components = new List<PipelineComponent>();
        foreach (string name in index.Names)
        {
            if (name.StartsWith('_') || index.Find(name) is not { ValueKind: JsonValueKind.Array } value)
                continue; // the pipeline's own class and settings
            var parts = value.EnumerateArray().ToArray();
            if (parts is [{ ValueKind: JsonValueKind.Null }, { ValueKind: JsonValueKind.Null }])
                continue;
            if (parts is not [{ ValueKind: JsonValueKind.String } library, { ValueKind: JsonValueKind.String } className])
                throw index.Error(name, "is no pair of a library and a class");
            if (name.AsSpan().ContainsAny('/', '\\') || name is "." or "..")
                throw index.Error(name, "is not the plain name of a folder");
            components.Add(new PipelineComponent(name, library.GetString()!, className.GetString()!));
        }
        return components;
    }

    /// <summary>True if the folder has weights in a format that is read here.</summary>
    public bool HasWeights(string? variant = null) => Candidates(variant).Any();

    /// <summary>Opens the folder's weights: one safetensors file, else shards under an index; where a folder has both, the single file, as
    /// transformers chooses.</summary>
    /// <param name="variant">"fp16" for <c>diffusion_pytorch_model.fp16.safetensors</c>; null for the plain names, or where there are none for the one dtype
    /// that a download has.</param>
    /// <exception cref="CheckpointException">There are none, or only pickled ones, or those of several dtypes, or they are malformed.</exception>
    public WeightSource OpenWeights(string? variant = null)
    {
        var found = Candidates(variant).ToList();
        if (found.Count > 1)
            throw CheckpointException.OfFile(Path, $"the folder holds {string.Join(" and ", found.Select(System.IO.Path.GetFileName))}: keep the one that is meant");
        if (found is [var path])
            return path.EndsWith(".json", StringComparison.Ordinal) ? ShardedSafetensors.Open(path) : SafetensorsFile.Open(path);
        string? pickle = Directory.EnumerateFiles(Path)
            .FirstOrDefault(static file => System.IO.Path.GetExtension(file) is ".bin" or ".pt" or ".pth" or ".ckpt");
        throw pickle is null
            ? CheckpointException.OfFile(Path, $"the folder holds no weights: {string.Join(" or ", Stems.Select(stem => $"{WithVariant(stem, variant)}.safetensors"))}, or shards with an index")
            : CheckpointException.OfFile(pickle, "a Python pickle is not read, since reading one can run any code: convert it to safetensors");
    }

    static string WithVariant(string stem, string? variant) => variant is null ? stem : $"{stem}.{variant}";

    IEnumerable<string> Candidates(string? variant) => FindWeights(variant) is { } found ? [found]
        : variant is null ? DtypeVariants.Select(FindWeights).OfType<string>() : [];

    string? FindWeights(string? variant) => Stems
        .SelectMany(stem => (string[])[$"{WithVariant(stem, variant)}.safetensors", $"{stem}.safetensors.index{(variant is null ? "" : "." + variant)}.json"])
        .Select(name => System.IO.Path.Combine(Path, name))
        .FirstOrDefault(File.Exists);
}
