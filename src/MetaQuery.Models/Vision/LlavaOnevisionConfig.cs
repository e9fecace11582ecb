using System.Globalization;
using System.Text.Json;
using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Models.Vision;

/// <summary>What stands between LLaVA-OneVision's vision tower and its decoder. Values that config.json leaves out take transformers 4.49's defaults.</summary>
public sealed record LlavaOnevisionConfig
{
    public required SiglipVisionConfig Vision { get; init; }

    /// <summary>The decoder's hidden size.</summary>
    public required int OutputSize { get; init; }

    /// <summary>How many encoder layers are run for each of the states that are read: 0 the embeddings, the tower's depth the last layer's. Several are joined.</summary>
    public required IReadOnlyList<int> FeatureLayers { get; init; }

    public required VisionActivation ProjectorActivation { get; init; }

    public required bool ProjectorBias { get; init; }

    /// <summary>Of anyres_max_N: a picture's tiles are scaled down when they hold more tokens than N tiles do (by more than a tenth a side).</summary>
    public required int MaxTiles { get; init; }

    public required long ImageTokenId { get; init; }

    /// <param name="file">The whole config.json.</param>
    /// <exception cref="CheckpointException">A value is malformed or not supported.</exception>
    public static LlavaOnevisionConfig Read(ConfigFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        var vision = SiglipVisionConfig.Read(file.Section("vision_config"));
        if (file.String("vision_feature_select_strategy", "full") is var strategy and not "full")
            throw file.Error("vision_feature_select_strategy", $"is \"{strategy}\"; only full is supported: SigLIP has no class token to leave out");
        const string Prefix = "anyres_max_";
        var aspect = file.String("vision_aspect_ratio", "anyres_max_9");
        if (!aspect.StartsWith(Prefix, StringComparison.Ordinal) || !int.TryParse(aspect.AsSpan(Prefix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out var tiles) || tiles < 1)
            throw file.Error("vision_aspect_ratio", $"is \"{aspect}\"; anyres_max_N with a number N of tiles is supported");
        return new LlavaOnevisionConfig
        {
            Vision = vision,
            OutputSize = file.Section("text_config").Int32("hidden_size", 4096),
            FeatureLayers = Layers(file, vision.Encoder.NumHiddenLayers),
            ProjectorActivation = VisionActivations.Read(file, "projector_hidden_act", "gelu"),
            ProjectorBias = file.Boolean("multimodal_projector_bias", true),
            MaxTiles = tiles,
            ImageTokenId = file.Int64("image_token_index", file.Int64("image_token_id", 151646)),
        };
    }

    // Indices into the list of the embeddings and every layer's output, from the end where negative.
    private static IReadOnlyList<int> Layers(ConfigFile file, int depth)
    {
        const string Name = "vision_feature_layer";
        var stated = file.Find(Name) is { ValueKind: JsonValueKind.Array } ? file.Int64s(Name) : [file.Int64(Name, -1)];
        var layers = stated.Select(layer => layer < 0 ? layer + depth + 1 : layer).ToList();
        return layers.Count > 0 && layers.All(layer => layer >= 0 && layer <= depth) ? [.. layers.Select(layer => (int)layer)]
            : throw file.Error(Name, $"is [{string.Join(", ", stated)}], the tower has {depth} layers");
    }
}
