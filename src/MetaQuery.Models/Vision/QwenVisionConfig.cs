using MetaQuery.Models.Checkpoints;

namespace MetaQuery.Models.Vision;

/// <summary>Sizes of Qwen2.5-VL's vision tower: vision_config of its config.json. Values that the file leaves out take transformers 4.49's defaults.</summary>
public sealed record QwenVisionConfig
{
    public required int Depth { get; init; }

    public required int HiddenSize { get; init; }

    public required int IntermediateSize { get; init; }

    public required int NumHeads { get; init; }

    public required int Channels { get; init; }

    public required int PatchSize { get; init; }

    /// <summary>Side, in patches, of the square that becomes one token.</summary>
    public required int SpatialMergeSize { get; init; }

    /// <summary>Frames in a patch; a still picture fills them all.</summary>
    public required int TemporalPatchSize { get; init; }

    /// <summary>Side of an attention window, in pixels.</summary>
    public required int WindowSize { get; init; }

    /// <summary>The decoder's hidden size.</summary>
    public required int OutputSize { get; init; }

    /// <summary>Blocks that see the whole picture.</summary>
    public required IReadOnlyList<int> FullAttentionBlocks { get; init; }

    public required long ImageTokenId { get; init; }

    public int HeadSize => HiddenSize / NumHeads;

    /// <summary>Numbers in a patch: channel, frame, y, x.</summary>
    public int PatchLength => Channels * TemporalPatchSize * PatchSize * PatchSize;

    /// <summary>Side of an attention window, in tokens.</summary>
    public int WindowTokens => WindowSize / SpatialMergeSize / PatchSize;

    /// <param name="file">The whole config.json.</param>
    /// <exception cref="CheckpointException">A value is malformed or not supported.</exception>
    public static QwenVisionConfig Read(ConfigFile file)
    {
        ArgumentNullException.ThrowIfNull(file);
        var json = file.Section("vision_config");
        if (json.String("hidden_act", "silu") is var activation and not "silu")
            throw json.Error("hidden_act", $"is \"{activation}\"; only silu is supported");
        // The files state in_chans and spatial_patch_size too, which the library does not read.
        var config = new QwenVisionConfig
        {
            Depth = json.Int32("depth", 32),
            HiddenSize = json.Int32("hidden_size", 3584),
            IntermediateSize = json.Int32("intermediate_size", 3420),
            NumHeads = json.Int32("num_heads", 16),
            Channels = json.Int32("in_channels", 3),
            PatchSize = json.Int32("patch_size", 14),
            SpatialMergeSize = json.Int32("spatial_merge_size", 2),
            TemporalPatchSize = json.Int32("temporal_patch_size", 2),
            WindowSize = json.Int32("window_size", 112),
            OutputSize = json.Int32("out_hidden_size", 3584),
            FullAttentionBlocks = json.Has("fullatt_block_indexes") ? [.. json.Int64s("fullatt_block_indexes").Select(block => checked((int)block))] : [7, 15, 23, 31],
            ImageTokenId = file.Int64("image_token_id", 151655),
        };
        Require(config is { Depth: > 0, HiddenSize: > 0, IntermediateSize: > 0, NumHeads: > 0, PatchSize: > 0, SpatialMergeSize: > 0, TemporalPatchSize: > 0, OutputSize: > 0 },
            "depth", "and the other sizes must be positive");
        Require(config.Channels == 3, "in_channels", $"is {config.Channels}; pictures have 3 channels");
        Require(config.HiddenSize % config.NumHeads == 0 && config.HeadSize % 4 == 0, "num_heads",
            $"is {config.NumHeads}, which does not cut hidden_size {config.HiddenSize} into heads of a multiple of 4: rows and columns each turn pairs");
        Require(config.WindowTokens > 0, "window_size", $"is {config.WindowSize} pixels, less than one token of {config.SpatialMergeSize * config.PatchSize}");
        return config;

        void Require(bool holds, string name, string otherwise)
        {
            if (!holds)
                throw json.Error(name, otherwise);
        }
    }
}
