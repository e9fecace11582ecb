using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Kernels;
using MetaQuery.Pipelines;
using TorchSharp;

namespace MetaQuery.Silo;

/// <summary>A model folder loaded into this process once, or that half of it which its roles need; each slot takes its own halves over the same weights.</summary>
/// <remarks>What a model is, is read from its configuration, never from what is loaded: processes with one half, the other or both share a lane.</remarks>
public sealed class LocalModel : IFarmModel, IDisposable
{
    /// <summary>Rows of a denoising batch where a job names none.</summary>
    public const int DefaultBatchSize = 8;

    private readonly TextModel? _text;
    private readonly ImageModel? _image;
    private readonly ConditionEncoder? _encoder;

    private LocalModel(ModelDescription description, TextModel? text, ImageModel? image)
    {
        (Description, _text, _image) = (description, text, image);
        _encoder = text is null ? null : new ConditionEncoder(text.Model, text.Prompt);
        if (_encoder is not null && _encoder.ConditionBytes != description.Conditions.ConditionBytes)
        {
            throw new PipelineException(
                $"the model's weights give conditions of {_encoder.ConditionBytes} bytes, its configuration {description.Conditions.ConditionBytes}");
        }
    }

    /// <summary>The dtype that is faster here: bfloat16 where the processor multiplies its tiles, else float32.</summary>
    public static string DefaultDtype => RawKernels.Features.HasFlag(KernelFeatures.AmxBFloat16) ? "bfloat16" : "float32";

    public ModelDescription Description { get; }

    /// <summary>Slots that fill this machine: a core each. Two slots of one thread beat one of two threads by a quarter.</summary>
    public static int DefaultSlots(int threadsPerSlot) => Math.Max(1, Environment.ProcessorCount / Math.Max(1, threadsPerSlot));

    /// <summary>What a model is, for a process that computes nothing: no weights and no tensor library are loaded, every file is hashed.</summary>
    /// <param name="path">A model folder, such as models/nano.</param>
    /// <param name="dtype">What it would compute in; <c>any</c> where its slots have their own.</param>
    /// <returns>With a numerics fingerprint of no machine: slots have their own.</returns>
    /// <exception cref="Models.Checkpoints.CheckpointException">A part is missing, malformed, or does not fit the others.</exception>
    public static ModelDescription Describe(string path, string dtype = NumericsFingerprint.AnyDtype)
    {
        MetaQueryModelFolder folder = MetaQueryModelFolder.Open(path);
        var numerics = new NumericsFingerprint(dtype, "any", 0, "none", "none");
        return Describe(folder, ImageModel.Describe(folder, new ImageModelOptions { AllowFused = false }), dtype, numerics);
    }

    /// <summary>Loads the halves at once.</summary>
    /// <param name="path">A model folder, such as models/nano.</param>
    /// <param name="dtype">float32, bfloat16, or null for <see cref="DefaultDtype"/>.</param>
    /// <param name="threadsPerSlot">Threads within one operator; set for the whole process.</param>
    /// <param name="roles">Which halves.</param>
    /// <param name="device"><c>cpu</c>, <c>cuda</c> or <c>cuda:1</c>.</param>
    /// <exception cref="Models.Checkpoints.CheckpointException">A part is missing, malformed, or does not fit the others.</exception>
    /// <exception cref="PipelineException">A part is of a kind that is not supported.</exception>
    /// <exception cref="JobSpecException">The dtype or the device is not known, or not there.</exception>
    public static LocalModel Load(
        string path, string? dtype = null, int threadsPerSlot = 1, WorkRoles roles = WorkRoles.Both, string device = "cpu")
    {
        ComputeDevice place = ComputeDevice.Parse(device);
        dtype ??= place.IsCpu ? DefaultDtype : "bfloat16";
        torch.ScalarType computed = dtype switch
        {
            "float32" => torch.ScalarType.Float32,
            "bfloat16" => torch.ScalarType.BFloat16,
            _ => throw new JobSpecException($"dtype {dtype} is not known; float32 and bfloat16 are"),
        };
        MetaQueryModelFolder folder = MetaQueryModelFolder.Open(path);
        TorchRuntime.SetThreads(threadsPerSlot);
        var options = new ImageModelOptions { Dtype = computed, Device = place.Device };
        // hashing every file takes as long as loading one half, so all three run side by side
        Task<ModelDescription> description = Task.Run(() => Describe(folder, ImageModel.Describe(folder, options), dtype, place));
        Task<TextModel?> text = Task.Run(() => roles.HasFlag(WorkRoles.Mllm) ? TextModel.Load(folder, computed, place.IsCpu ? null : place.Device) : null);
        Task<ImageModel?> image = Task.Run(() => roles.HasFlag(WorkRoles.Dit) ? ImageModel.Load(folder, options) : null);
        try
        {
            Task.WhenAll(description, text, image).GetAwaiter().GetResult();
            return new LocalModel(description.Result, text.Result, image.Result);
        }
        catch
        {
            Task.WhenAll(description, text, image).ContinueWith(static _ => { }, TaskScheduler.Default).GetAwaiter().GetResult();
            DisposeIfMade(text);
            DisposeIfMade(image);
            throw;
        }
    }

    public IConditionEncoder CreateEncoder(IPictureSource? pictures = null) => new EncoderHalf(
        _encoder ?? throw new InvalidOperationException("the half that makes conditions is not loaded"), Description.Conditions, pictures);

    /// <summary>Pictures of prompts that went through the vision tower so far, black ones included; 0 where there is none.</summary>
    public long PicturePasses => _text?.Model.PicturePasses ?? 0;

    public IImageDenoiser CreateDenoiser() => new DenoiserHalf(
        new ImageDenoiser(
            _image ?? throw new InvalidOperationException("the half that makes pictures is not loaded"),
            new ImageDenoiserOptions(Description.Images.Numerics.ThreadsPerSlot)),
        Description.Images);

    public void Dispose()
    {
        _encoder?.Dispose();
        _text?.Dispose();
        _image?.Dispose();
    }

    private static ModelDescription Describe(MetaQueryModelFolder folder, ImageModelTraits image, string dtype, ComputeDevice place)
    {
        NumericsSettings process = TorchRuntime.Numerics;
        return Describe(folder, image, dtype, new NumericsFingerprint(
            dtype, place.Name ?? process.CpuCapability, process.ThreadsPerSlot, $"libtorch {process.Libtorch} {process.Blas}",
            $"{image.KernelPath} level {process.KernelLevel} bf16 {process.Bfloat16}"));
    }

    private static ModelDescription Describe(MetaQueryModelFolder folder, ImageModelTraits image, string dtype, NumericsFingerprint numerics)
    {
        TextModelTraits text = TextModel.Describe(folder);
        return new ModelDescription(
            new ConditionIdentity(
                folder.ConditionRevision, Path.GetFileName(folder.MllmPath), text.TemplateSource, folder.Config.SystemPrompt, folder.Config.NumMetaqueries,
                $"{dtype}/bfloat16", numerics.ToString(), text.ConditionBytes),
            new ImageModelInfo(
                folder.Revision, folder.Name, new ImageSize(image.DefaultSizePixels, image.DefaultSizePixels), image.SizeMultiplePixels, image.MinSizePixels,
                image.MaxSidePixels, folder.Config.DefaultNumInferenceSteps, (float)folder.Config.DefaultGuidanceScale, DefaultBatchSize, numerics))
        {
            PictureRefusal = text.Pictures is { } processor ? (width, height) => Refusal(processor, width, height) : null,
        };
    }

    private static string? Refusal(IImageProcessor processor, int widthPixels, int heightPixels)
    {
        try
        {
            processor.Check(heightPixels, widthPixels);
            return null;
        }
        catch (ImageFormatException exception)
        {
            return exception.Message;
        }
    }

    private static void DisposeIfMade<T>(Task<T?> task)
        where T : class, IDisposable
    {
        if (task.IsCompletedSuccessfully)
        {
            task.Result?.Dispose();
        }
    }
}
