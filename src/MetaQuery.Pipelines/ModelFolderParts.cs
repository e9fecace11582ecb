namespace MetaQuery.Pipelines;

/// <summary>Where the parts of a model folder lie. A part has its own folder (vae/), or lies in the folder of the download that config.json names, as the
/// reference's config does (vae_id: Efficient-Large-Model/Sana_1600M_512px_diffusers -> Sana_1600M_512px_diffusers/vae/).</summary>
/// <param name="Mllm">A GGUF file, or a folder with a config.json.</param>
/// <param name="Checkpoint">The file with queries and connector, or the index of its shards.</param>
/// <param name="Networks">Folders of diffusion networks; one is right.</param>
internal sealed record ModelFolderParts(string? Mllm, string? Checkpoint, IReadOnlyList<string> Networks, string? Vae, string? Scheduler)
{
    public static readonly string[] CheckpointNames = ["metaquery.safetensors", "model.safetensors", "model.safetensors.index.json"];

    private const string Config = "config.json";

    public static ModelFolderParts Find(string folder, MetaQueryConfig config)
    {
        string[] mllms = [config.Mllm, .. Downloads(config.MllmId)];
        string[] networks = [.. new[] { "transformer", "unet" }.Select(part => First(Parts(part, config.DiffusionModelId), Config)).OfType<string>()];
        return new ModelFolderParts(
            mllms.Select(Full).FirstOrDefault(path => File.Exists(path) || File.Exists(Path.Combine(path, Config))),
            CheckpointNames.Select(name => Path.Combine(folder, name)).FirstOrDefault(File.Exists),
            networks,
            // an AutoencoderKL may be a download of its own
            First([.. Parts("vae", config.VaeId), .. Downloads(config.VaeId)], Config),
            First(Parts("scheduler", config.SchedulerId), "scheduler_config.json"));

        string Full(string path) => Path.GetFullPath(Path.Combine(folder, path));

        string? First(IEnumerable<string> places, string file) => places.Select(Full).FirstOrDefault(place => File.Exists(Path.Combine(place, file)));
    }

    private static IEnumerable<string> Parts(string part, string? id) => [part, .. Downloads(id).Select(download => Path.Combine(download, part))];

    // The repository's name, with and without its owner. An id that leads elsewhere (a path of the machine that trained) is not followed.
    private static IEnumerable<string> Downloads(string? id)
    {
        if (id is null || Path.IsPathRooted(id) || id.Split('/').Any(name => name is "" or "." or ".."))
            return [];
        return id.Contains('/', StringComparison.Ordinal) ? [Path.GetFileName(id), id] : [id];
    }
}
