using System.CommandLine;
using MetaQuery.Farm;
using MetaQuery.Silo;

namespace MetaQuery.Cli.Commands;

/// <summary>What generate, job run and demo have in common: the model, how pictures are made, how the machine is used.</summary>
internal sealed class SamplingOptions
{
    private readonly Option<string> model = Values.Text("--model", "A folder under models/, or a path.", InstalledModels.Default, "NAME|FOLDER");
    private readonly Option<ulong?> seed = Values.Number("--seed", "Seed of the whole run; each picture's own is made of it (default 0).", 0UL, ulong.MaxValue);
    private readonly Option<ImageSize?> size = Values.Size();
    private readonly Option<int?> steps = Values.Number("--steps", "Denoising steps (default: the model's).", 1, 1000);
    private readonly Option<float?> guidance = Values.Number("--guidance", "Guidance scale; 1 or less is none (default: the model's).", 0f, 100f);
    private readonly Option<float?> imageGuidance = Values.ImageGuidance();
    private readonly Option<string> negativePrompt = Values.Text("--negative-prompt", "What the pictures should not show.", "", "TEXT");
    private readonly Option<Imaging.ImageFormat> format = Values.Format();
    private readonly Option<int?> quality = Values.Number("--quality", "Of jpg and webp (default 95).", 1, 100);
    private readonly Option<string?> dtype = Values.Dtype();
    private readonly Option<int?> batchSize = Values.Number("--batch-size", "Pictures denoised together; part of what a picture's bits depend on (default: the model's).", 1, 1024);
    private readonly Option<string> device = Values.Device();
    private readonly Option<int?> slots = Values.Number("--slots", "Workers in this process (default: one per core, one on an accelerator); changes no picture.", 1, 1024);
    private readonly Option<int?> threads = Values.Number("--threads", "Threads of each slot (default 1); part of what a picture's bits depend on.", 1, 256);

    private readonly Option<long?> memoryBudget = Values.MemoryBudget();

    public void AddTo(Command command)
    {
        foreach (var option in (Option[])[model, seed, size, steps, guidance, imageGuidance, negativePrompt, format, quality, dtype, batchSize, device, slots, threads, memoryBudget])
        {
            command.Options.Add(option);
        }
    }

    public JobSpec Apply(JobSpec spec, ParseResult result) => spec with
    {
        Seed = result.GetValue(seed) ?? 0,
        Size = result.GetValue(size),
        NumInferenceSteps = result.GetValue(steps),
        GuidanceScale = result.GetValue(guidance),
        ImageGuidanceScale = result.GetValue(imageGuidance),
        NegativePrompt = result.GetValue(negativePrompt) ?? "",
        Format = result.GetValue(format),
        Quality = result.GetValue(quality) ?? spec.Quality,
        Dtype = result.GetValue(dtype),
        BatchSize = result.GetValue(batchSize),
    };

    public FarmOptions FarmOptions(ParseResult result) => new()
    {
        Slots = result.GetValue(slots) ?? LocalModel.DefaultSlots(result.GetValue(threads) ?? 1, DeviceOf(result)),
    };

    /// <summary>The model without its weights: what a plan needs.</summary>
    public ModelDescription Describe(ParseResult result) =>
        LocalModel.Describe(InstalledModels.Find(result.GetValue(model) ?? InstalledModels.Default), result.GetValue(dtype) ?? LocalModel.DefaultDtype(DeviceOf(result)));

    public LoadedFarm Load(ParseResult result) => LoadedFarm.Load(
        InstalledModels.Find(result.GetValue(model) ?? InstalledModels.Default), result.GetValue(dtype), result.GetValue(threads) ?? 1, DeviceOf(result),
        result.GetValue(memoryBudget), FarmOptions(result).CacheMemoryBytes);

    private string DeviceOf(ParseResult result) => result.GetValue(device)!;
}
