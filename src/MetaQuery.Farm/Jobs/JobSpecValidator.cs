using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Ranges of a job's values, and the model's defaults where the job says nothing.</summary>
internal static class JobSpecValidator
{
    private const int MaxImagesPerPrompt = 100_000;
    private const int MaxBatchSize = 1024;

    /// <exception cref="JobSpecException">A value is out of range.</exception>
    /// <exception cref="ModelMismatchException">The model cannot make this size, or runs in another dtype.</exception>
    public static ResolvedSettings Resolve(JobSpec spec, ImageModelInfo model)
    {
        var limits = new PromptLimits();
        if (string.IsNullOrWhiteSpace(spec.OutFolder))
        {
            throw new JobSpecException("no out folder was given");
        }

        Check(spec.ImagesPerPrompt, 1, MaxImagesPerPrompt, "images per prompt", "images_per_prompt");
        Check(spec.SamplesPerShard, 1, 10_000_000, "samples per shard", "samples_per_shard");
        Check(spec.Quality, 1, 100, "quality", "quality");
        int steps = spec.NumInferenceSteps ?? model.DefaultNumInferenceSteps;
        Check(steps, 1, limits.MaxInferenceSteps, "steps", "steps");
        int batchSize = spec.BatchSize ?? model.DefaultBatchSize;
        Check(batchSize, 1, MaxBatchSize, "batch size", "batch_size");
        float guidance = spec.GuidanceScale ?? model.DefaultGuidanceScale;
        if (!(guidance >= 0 && guidance <= limits.MaxGuidanceScale))
        {
            throw new JobSpecException($"guidance {guidance} is not between 0 and {limits.MaxGuidanceScale}") { Field = "guidance" };
        }

        if (spec.ImageGuidanceScale is { } imageGuidance && !(imageGuidance >= 0 && imageGuidance <= limits.MaxGuidanceScale))
        {
            throw new JobSpecException($"image guidance {imageGuidance} is not between 0 and {limits.MaxGuidanceScale}") { Field = "image_guidance" };
        }

        if (spec.Images.Count > limits.MaxImages)
        {
            throw new JobSpecException($"{spec.Images.Count} pictures were given; a prompt may have {limits.MaxImages}") { Field = "image" };
        }

        PromptSource.CheckText(spec.NegativePrompt, "the negative prompt", mayBeEmpty: true, field: "negative_prompt");
        ImageSize size = spec.Size ?? model.DefaultSize;
        CheckSide(size.HeightPixels, "height", model);
        CheckSide(size.WidthPixels, "width", model);
        if (spec.Dtype is { } dtype)
        {
            if (dtype is not ("float32" or "bfloat16"))
            {
                throw new JobSpecException($"dtype {dtype} is not known; float32 and bfloat16 are");
            }

            if (model.Numerics.Dtype != NumericsFingerprint.AnyDtype && dtype != model.Numerics.Dtype)
            {
                throw new ModelMismatchException($"the job asks for {dtype}, but the model was loaded in {model.Numerics.Dtype}");
            }
        }

        return new ResolvedSettings(
            size, steps, guidance, spec.NegativePrompt, spec.Seed, spec.ImagesPerPrompt, spec.SamplesPerShard, spec.Format,
            spec.Format == Imaging.ImageFormat.Png ? 100 : spec.Quality, batchSize)
        {
            ImageGuidanceScale = spec.ImageGuidanceScale,
        };
    }

    /// <exception cref="JobSpecException">A value is out of range.</exception>
    public static void Check(FarmOptions options)
    {
        Check(options.Slots, 1, 1024, "slots");
        Check(options.EncodeBatchSize, 1, 1024, "encode batch size");
        Check(options.ContactSheetImages, 0, Imaging.ContactSheet.MaxImages, "contact sheet images");
        if (options.CacheFolder is { } cache && string.IsNullOrWhiteSpace(cache))
        {
            throw new JobSpecException("the cache folder has no name");
        }

        if (options.CacheMemoryBytes < 0 || options.CacheDiskBytes < 1)
        {
            throw new JobSpecException($"cache of {options.CacheMemoryBytes} bytes in memory and {options.CacheDiskBytes} on disk; neither may be negative");
        }
    }

    private static void Check(int value, int least, int most, string what, string? field = null)
    {
        if (value < least || value > most)
        {
            throw new JobSpecException($"{what} {value} is not between {least} and {most}") { Field = field };
        }
    }

    private static void CheckSide(int pixels, string what, ImageModelInfo model)
    {
        if (pixels < model.MinSizePixels || pixels > model.MaxSizePixels || pixels % model.SizeMultiplePixels != 0)
        {
            throw new ModelMismatchException(
                $"{what} {pixels} cannot be made by model {model.ModelName}: multiples of {model.SizeMultiplePixels} from {model.MinSizePixels} to {model.MaxSizePixels} can");
        }
    }
}
