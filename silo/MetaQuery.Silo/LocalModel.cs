using MetaQuery.Farm;
using MetaQuery.Kernels;
using MetaQuery.Pipelines;
using TorchSharp;

namespace MetaQuery.Silo;

/// <summary>A model folder loaded into this process once; each slot takes its own two halves over the same weights.</summary>
public sealed class LocalModel : IFarmModel, IDisposable
{
    /// <summary>Rows of a denoising batch where a job names none.</summary>
    public const int DefaultBatchSize = 8;

    private readonly TextModel _text;
    private readonly ImageModel _image;
    private readonly ConditionEncoder _encoder;
    private readonly ConditionIdentity _identity;
    private readonly ImageModelInfo _info;

    private LocalModel(MetaQueryModelFolder folder, string revision, TextModel text, ImageModel image, string dtype)
    {
        (_text, _image) = (text, image);
        _encoder = new ConditionEncoder(text.Model, text.Prompt);
        NumericsSettings process = TorchRuntime.Numerics;
        var numerics = new NumericsFingerprint(
            dtype, process.CpuCapability, process.ThreadsPerSlot, $"libtorch {process.Libtorch} {process.Blas}",
            $"{image.KernelPath} level {process.KernelLevel} bf16 {process.Bfloat16}");
        _identity = new ConditionIdentity(
            folder.ConditionRevision, Path.GetFileName(folder.MllmPath), text.Template.Source, folder.Config.SystemPrompt,
            folder.Config.NumMetaqueries, $"{dtype}/bfloat16", numerics.ToString(), _encoder.ConditionBytes);
        _info = new ImageModelInfo(
            revision, folder.Name, new ImageSize(image.DefaultSizePixels, image.DefaultSizePixels), image.SizeMultiplePixels,
            image.MinSizePixels, image.MaxSidePixelsAllowed, folder.Config.DefaultNumInferenceSteps,
            (float)folder.Config.DefaultGuidanceScale, DefaultBatchSize, numerics);
    }

    /// <summary>The dtype that is faster here: bfloat16 where the processor multiplies its tiles, else float32.</summary>
    public static string DefaultDtype => RawKernels.Features.HasFlag(KernelFeatures.AmxBFloat16) ? "bfloat16" : "float32";

    /// <summary>Slots that fill this machine: a core each. Two slots of one thread beat one of two threads by a quarter.</summary>
    public static int DefaultSlots(int threadsPerSlot) => Math.Max(1, Environment.ProcessorCount / Math.Max(1, threadsPerSlot));

    /// <summary>Loads both halves at once.</summary>
    /// <param name="path">A model folder, such as models/nano.</param>
    /// <param name="dtype">float32, bfloat16, or null for <see cref="DefaultDtype"/>.</param>
    /// <param name="threadsPerSlot">Threads within one operator; set for the whole process.</param>
    /// <exception cref="Models.Checkpoints.CheckpointException">A part is missing, malformed, or does not fit the others.</exception>
    /// <exception cref="PipelineException">A part is of a kind that is not supported.</exception>
    /// <exception cref="JobSpecException">The dtype is not known.</exception>
    public static LocalModel Load(string path, string? dtype = null, int threadsPerSlot = 1)
    {
        dtype ??= DefaultDtype;
        torch.ScalarType computed = dtype switch
        {
            "float32" => torch.ScalarType.Float32,
            "bfloat16" => torch.ScalarType.BFloat16,
            _ => throw new JobSpecException($"dtype {dtype} is not known; float32 and bfloat16 are"),
        };
        MetaQueryModelFolder folder = MetaQueryModelFolder.Open(path);
        TorchRuntime.SetThreads(threadsPerSlot);
        // hashing every file takes as long as loading one half, so all three run side by side
        Task<string> revision = Task.Run(() => folder.Revision);
        Task<TextModel> text = Task.Run(() => TextModel.Load(folder, computed));
        Task<ImageModel> image = Task.Run(() => ImageModel.Load(folder, new ImageModelOptions { Dtype = computed }));
        try
        {
            Task.WhenAll(revision, text, image).GetAwaiter().GetResult();
            return new LocalModel(folder, revision.Result, text.Result, image.Result, dtype);
        }
        catch
        {
            Task.WhenAll(revision, text, image).ContinueWith(static _ => { }, TaskScheduler.Default).GetAwaiter().GetResult();
            DisposeIfMade(text);
            DisposeIfMade(image);
            throw;
        }
    }

    public ModelDescription Description => new(_identity, _info);

    public IConditionEncoder CreateEncoder() => new EncoderHalf(_encoder, _identity);

    public IImageDenoiser CreateDenoiser() => new DenoiserHalf(new ImageDenoiser(_image, new ImageDenoiserOptions(_info.Numerics.ThreadsPerSlot)), _info);

    public void Dispose()
    {
        _encoder.Dispose();
        _text.Dispose();
        _image.Dispose();
    }

    private static void DisposeIfMade<T>(Task<T> task)
        where T : IDisposable
    {
        if (task.IsCompletedSuccessfully)
        {
            task.Result.Dispose();
        }
    }
}
