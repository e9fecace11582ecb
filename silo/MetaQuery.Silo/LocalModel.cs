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

    private readonly ModelHalves _halves;

    private LocalModel(ModelDescription description, ModelHalves halves) => (Description, _halves) = (description, halves);

    /// <summary>Whether memory holds one half at a time, and the slots take turns at both.</summary>
    public bool HoldsOneHalf => _halves.Alternates;

    /// <summary>How often each half was loaded.</summary>
    public HalfLoads Loads => _halves.Loads;

    /// <summary>Whether both halves are in memory now.</summary>
    internal bool HoldsBoth => _halves.HoldsBoth;

    /// <summary>The device that every machine has.</summary>
    public const string Cpu = "cpu";

    /// <summary>The dtype that is faster: bfloat16 on an accelerator and where the processor has instructions for its products (AVX512-BF16, AMX), else float32.</summary>
    /// <exception cref="JobSpecException">The device is not known.</exception>
    public static string DefaultDtype(string device = Cpu) => !ComputeDevice.NamesCpu(device) || RawKernels.Features != KernelFeatures.None ? "bfloat16" : "float32";

    public ModelDescription Description { get; }

    /// <summary>Slots that fill this machine: a core each, since two slots of one thread beat one of two threads by a quarter; one on an accelerator.</summary>
    /// <exception cref="JobSpecException">The device is not known.</exception>
    public static int DefaultSlots(int threadsPerSlot, string device = Cpu) => ComputeDevice.NamesCpu(device) ? Math.Max(1, Environment.ProcessorCount / Math.Max(1, threadsPerSlot)) : 1;

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
    /// <param name="dtype">float32, bfloat16, or null for <see cref="DefaultDtype(string)"/>.</param>
    /// <param name="threadsPerSlot">Threads within one operator; set for the whole process.</param>
    /// <param name="roles">Which halves.</param>
    /// <param name="device"><c>cpu</c>, <c>cuda</c> or <c>cuda:1</c>.</param>
    /// <param name="memoryBudgetBytes">What the process may take. Where both halves need more, one is held at a time, and loaded when it is first used.</param>
    /// <param name="conditionCacheBytes">Of that, what the process' condition cache may hold in memory.</param>
    /// <exception cref="Models.Checkpoints.CheckpointException">A part is missing, malformed, or does not fit the others.</exception>
    /// <exception cref="PipelineException">A part is of a kind that is not supported.</exception>
    /// <exception cref="JobSpecException">The dtype or the device is not known, or not there; or the budget does not hold one half.</exception>
    public static LocalModel Load(
        string path, string? dtype = null, int threadsPerSlot = 1, WorkRoles roles = WorkRoles.Both, string device = Cpu, long? memoryBudgetBytes = null,
        long conditionCacheBytes = 0)
    {
        ComputeDevice place = ComputeDevice.Parse(device);
        dtype ??= DefaultDtype(device);
        torch.ScalarType computed = ScalarTypeOf(dtype);
        MetaQueryModelFolder folder = MetaQueryModelFolder.Open(path);
        TorchRuntime.SetThreads(threadsPerSlot);
        var options = new ImageModelOptions { Dtype = computed, Device = place.Device };
        bool alternates = memoryBudgetBytes is not null && MemoryNeed.Of(folder, dtype, conditionCacheBytes).Alternates(memoryBudgetBytes, roles);
        var halves = new ModelHalves(
            roles.HasFlag(WorkRoles.Mllm) ? () => TextModel.Load(folder, computed, place.IsCpu ? null : place.Device) : null,
            roles.HasFlag(WorkRoles.Dit) ? () => ImageModel.Load(folder, options) : null,
            alternates);
        // hashing every file takes as long as loading one half, so all three run side by side
        Task<ModelDescription> description = Task.Run(() => Describe(folder, ImageModel.Describe(folder, options), dtype, place));
        Task loading = alternates ? Task.CompletedTask : Task.Run(halves.LoadAll);
        try
        {
            Task.WhenAll(description, loading).GetAwaiter().GetResult();
            if (!alternates && halves.HasText)
            {
                halves.Encode((encoder, _) => Checked(encoder, description.Result.Conditions.ConditionBytes), null, CancellationToken.None);
            }

            return new LocalModel(description.Result, halves);
        }
        catch
        {
            Task.WhenAll(description, loading).ContinueWith(static _ => { }, TaskScheduler.Default).GetAwaiter().GetResult();
            halves.Dispose();
            throw;
        }
    }

    /// <summary>Loads the language model alone.</summary>
    /// <param name="folder">A model's.</param>
    /// <param name="dtype">float32, bfloat16, or null: float32 on the CPU, whose answers are read one token at a time, else bfloat16.</param>
    /// <param name="device"><c>cpu</c>, <c>cuda</c> or <c>cuda:1</c>.</param>
    /// <exception cref="Models.Checkpoints.CheckpointException">A part is missing, malformed, or does not fit the others.</exception>
    /// <exception cref="JobSpecException">The dtype or the device is not known, or not there.</exception>
    public static ChatModel LoadChat(MetaQueryModelFolder folder, string? dtype, string device = Cpu)
    {
        ComputeDevice place = ComputeDevice.Parse(device);
        return ChatModel.Load(folder, ScalarTypeOf(dtype ?? (place.IsCpu ? "float32" : "bfloat16")), place.IsCpu ? null : place.Device);
    }

    public IConditionEncoder CreateEncoder(IPictureSource? pictures = null) => _halves.HasText
        ? new EncoderHalf(_halves, Description.Conditions, pictures)
        : throw new InvalidOperationException("the half that makes conditions is not loaded");

    /// <summary>Pictures of prompts that went through the vision tower since the half that makes conditions was loaded, black ones included; 0 where there is none.</summary>
    public long PicturePasses => _halves.PicturePasses;

    /// <summary>The frozen language model as it answers in text, over the same weights; null where that half is not loaded, comes and goes, or has no output head.</summary>
    public ChatModel? Chat => _halves.Chat is { CanAnswer: true } chat ? chat : null;

    public IImageDenoiser CreateDenoiser() => _halves.HasImage
        ? new DenoiserHalf(_halves, Description.Images)
        : throw new InvalidOperationException("the half that makes pictures is not loaded");

    public void Dispose() => _halves.Dispose();

    private static torch.ScalarType ScalarTypeOf(string dtype) => dtype switch
    {
        "float32" => torch.ScalarType.Float32,
        "bfloat16" => torch.ScalarType.BFloat16,
        _ => throw new JobSpecException($"dtype {dtype} is not known; float32 and bfloat16 are"),
    };

    private static int Checked(ConditionEncoder encoder, int due) => encoder.ConditionBytes == due
        ? due
        : throw new PipelineException($"the model's weights give conditions of {encoder.ConditionBytes} bytes, its configuration {due}");

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
                folder.ConditionRevision, Path.GetFileName(folder.MllmPath), text.TemplateSource, folder.Config.SystemPrompt ?? "", folder.Config.NumMetaqueries,
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
}
