using MetaQuery.Imaging;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Vision;

namespace MetaQuery.Pipelines.Vision;

/// <summary>Reads a checkpoint's preprocessor_config.json. Values that the file leaves out take transformers 4.49's defaults.</summary>
public static class ImageProcessors
{
    public const string ConfigName = "preprocessor_config.json";

    // MLLMInContext of facebookresearch/metaquery states these in code, whatever the checkpoint's own file says.
    private const long ReferenceMinPixels = 256 * 28 * 28;
    private const long ReferenceMaxPixels = 1280 * 28 * 28;
    private const int ReferenceCrop = 384;

    private static readonly float[] ClipMean = [0.48145466f, 0.4578275f, 0.40821073f]; // OPENAI_CLIP_MEAN
    private static readonly float[] ClipDeviation = [0.26862954f, 0.26130258f, 0.27577711f];
    private static readonly float[] Half = [0.5f, 0.5f, 0.5f];

    /// <param name="folder">The MLLM's.</param>
    /// <param name="forConditions">As MetaQuery reads pictures; else as the MLLM alone does.</param>
    /// <exception cref="CheckpointException">The file is missing or malformed, or the family has no pictures.</exception>
    public static IImageProcessor Read(MllmKind kind, string folder, bool forConditions)
    {
        var json = ConfigFile.Open(Path.Combine(folder, ConfigName));
        return kind switch
        {
            MllmKind.Qwen25Vl when forConditions => ReadQwen(json) with { MinPixels = ReferenceMinPixels, MaxPixels = ReferenceMaxPixels },
            MllmKind.Qwen25Vl => ReadQwen(json),
            MllmKind.LlavaOnevision => ReadLlavaOnevision(json) with { ShorterSideCrop = forConditions ? ReferenceCrop : null },
            _ => throw new CheckpointException($"{folder}: the MLLM has no vision tower that is built here"),
        };
    }

    /// <summary>Qwen2VLImageProcessor.</summary>
    /// <exception cref="CheckpointException">A value is malformed or not supported.</exception>
    public static QwenImageProcessor ReadQwen(ConfigFile json)
    {
        ArgumentNullException.ThrowIfNull(json);
        // Later files state the limits as a size.
        var size = json.OptionalSection("size");
        var processor = new QwenImageProcessor(
            json.Int64("min_pixels", size?.Int64("shortest_edge", QwenImageProcessor.DefaultMinPixels) ?? QwenImageProcessor.DefaultMinPixels),
            json.Int64("max_pixels", size?.Int64("longest_edge", QwenImageProcessor.DefaultMaxPixels) ?? QwenImageProcessor.DefaultMaxPixels),
            json.Int32("patch_size", 14), json.Int32("merge_size", 2), json.Int32("temporal_patch_size", 2), Scaling(json, ClipMean, ClipDeviation),
            json.Boolean("do_resize", true) ? Filter(json) : null);
        return processor is { PatchSize: > 0, MergeSize: > 0, TemporalPatchSize: > 0, MaxPixels: > 0 } && processor.MinPixels <= processor.MaxPixels ? processor
            : throw json.Error("patch_size", "and the other sizes must be positive, min_pixels at most max_pixels");
    }

    /// <summary>LlavaOnevisionImageProcessor.</summary>
    /// <exception cref="CheckpointException">A value is malformed or not supported.</exception>
    public static LlavaOnevisionImageProcessor ReadLlavaOnevision(ConfigFile json)
    {
        ArgumentNullException.ThrowIfNull(json);
        const int DefaultSide = 384;
        const string PinpointsName = "image_grid_pinpoints";
        var (side, width) = Size(json, DefaultSide);
        if (side != width || side < 1)
            throw json.Error("size", $"is {side} x {width}; tiles are square");
        if (!json.Boolean("do_resize", true))
            throw json.Error("do_resize", "is false; tiles are made by resizing");
        // The library's default: every size of one to six tiles a side.
        var pinpoints = json.Has(PinpointsName)
            ? json.Pairs(PinpointsName)
            : [.. Enumerable.Range(1, 6).SelectMany(row => Enumerable.Range(1, 6).Select(column => (row * DefaultSide, column * DefaultSide)))];
        foreach (var (high, wide) in pinpoints)
        {
            if (high < 1 || wide < 1 || high % side != 0 || wide % side != 0)
                throw json.Error(PinpointsName, $"names {high} x {wide}, which is not a whole number of tiles of {side}");
        }

        return pinpoints.Count > 0 ? new LlavaOnevisionImageProcessor(side, pinpoints, Scaling(json, ClipMean, ClipDeviation), Filter(json))
            : throw json.Error(PinpointsName, "is empty");
    }

    /// <summary>SiglipImageProcessor.</summary>
    /// <exception cref="CheckpointException">A value is malformed or not supported.</exception>
    public static SiglipImageProcessor ReadSiglip(ConfigFile json)
    {
        ArgumentNullException.ThrowIfNull(json);
        var (height, width) = Size(json, 224);
        return json.Boolean("do_resize", true) && height > 0 && width > 0 ? new SiglipImageProcessor(height, width, Scaling(json, Half, Half), Filter(json))
            : throw json.Error("size", $"is {height} x {width}; pictures are resized to a positive size (do_resize)");
    }

    private static (int Height, int Width) Size(ConfigFile json, int absent)
    {
        if (json.OptionalSection("size") is not { } size)
            return (absent, absent);
        return size.Has("shortest_edge") ? (size.Int32("shortest_edge"), size.Int32("shortest_edge")) : (size.Int32("height"), size.Int32("width"));
    }

    private static PixelScaling Scaling(ConfigFile json, float[] mean, float[] deviation)
    {
        var factor = json.Boolean("do_rescale", true) ? json.Double("rescale_factor", 1 / 255.0) : 1;
        if (!json.Boolean("do_normalize", true))
            return new PixelScaling(factor, [0, 0, 0], [1, 1, 1]);
        var scaling = new PixelScaling(factor, Three("image_mean", mean), Three("image_std", deviation));
        return scaling.Deviation.Contains(0) ? throw json.Error("image_std", "has a 0") : scaling;

        IReadOnlyList<float> Three(string name, float[] absent)
        {
            var values = json.Has(name) ? json.Doubles(name) : [.. absent];
            return values.Count == 3 ? [.. values.Select(value => (float)value)] : throw json.Error(name, $"has {values.Count} numbers, pictures have 3 channels");
        }
    }

    // PIL's Image.Resampling.
    private static ResampleFilter Filter(ConfigFile json) => json.Int32("resample", 3) switch
    {
        1 => ResampleFilter.Lanczos,
        2 => ResampleFilter.Bilinear,
        3 => ResampleFilter.Bicubic,
        var other => throw json.Error("resample", $"is {other}; 1 (Lanczos), 2 (bilinear) and 3 (bicubic) are supported"),
    };
}
