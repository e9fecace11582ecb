using System.Text.Json;
using MetaQuery.Pipelines;
using MetaQuery.Sampling;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>The reference's sample_images: two and three branches, several images per prompt, every step, and the pictures.</summary>
public sealed class MetaQuerySamplingKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["metaquery-sampling"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        foreach (var allowFused in new[] { false, true })
        {
            using var model = ImageModel.Load(
                parityCase.PathOf(parityCase.Has("unet") ? "unet" : "transformer"), parityCase.PathOf("vae"), parityCase.PathOf("scheduler"), new ImageModelOptions { AllowFused = allowFused });
            using var velocity = model.CreateVelocityModel(threads: 1);
            foreach (var (name, json) in parityCase.Cases())
            {
                RunCase(parityCase, report, model, velocity, name, json);
            }
        }
    }

    private static void RunCase(ParityCase parityCase, ParityReport report, ImageModel model, IVelocityModel velocity, string name, JsonElement json)
    {
        using var scope = NewDisposeScope();
        var imagesPerPrompt = json.GetProperty("num_images_per_prompt").GetInt32();
        var branches = json.Texts("conditions").Select(key => Contexts(velocity, parityCase.Inputs.Load(key), imagesPerPrompt)).ToArray();
        var noise = parityCase.Inputs.Load($"{name}.latents");
        var rows = (int)noise.shape[0];
        float[] Scale(string key) => [.. Enumerable.Repeat(json.GetProperty(key).GetSingle(), rows)];
        var guided = new GuidedContexts(
            branches[0], branches.Length == 3 ? branches[1] : null, branches[^1], Scale("guidance_scale"),
            branches.Length == 3 ? Scale("image_guidance_scale") : null);

        var latents = new List<Tensor> { noise };
        var velocities = new List<Tensor>();
        using var run = model.Scheduler.Begin(json.GetProperty("num_inference_steps").GetInt32());
        var final = SamplingLoop.Run(velocity, run, noise, guided, observe: step =>
        {
            latents.Add(step.Latents.clone().MoveToOtherDisposeScope(scope));
            velocities.Add(step.Velocity.clone().MoveToOtherDisposeScope(scope));
        });
        foreach (var context in branches.SelectMany(contexts => contexts).Distinct())
        {
            context.Dispose();
        }

        var by = $" ({model.KernelPath})";
        report.Close($"{name}.latents{by}", stack(latents.ToArray()), parityCase.Expected.Load($"{name}.latents"), parityCase.Tolerance("latents"));
        report.Close(
            $"{name}.guided_outputs{by}", stack(velocities.ToArray()), parityCase.Expected.Load($"{name}.guided_outputs"), parityCase.Tolerance("guided_outputs"));
        using var decoder = model.CreateDecoder(threads: 1);
        var decoded = decoder.Decode(final);
        report.Close(
            $"{name}.decoded{by}", (decoded / 2 + 0.5).clamp(0, 1), parityCase.Expected.Load($"{name}.decoded"), parityCase.Tolerance("decoded"));
        var pixels = ImageDenoiser.ToImages(decoded).SelectMany(image => image.Pixels).Select(value => (float)value).ToArray();
        report.Close($"{name}.images{by}", pixels, parityCase.Expected.Load($"{name}.images").Floats(), OneLevel);
    }

    // "at most 1 level"
    private static ParityTolerance OneLevel => new(1, 0);

    // [prompts, tokens, channels] -> one context per row, a prompt's images in a row
    private static VelocityContext[] Contexts(IVelocityModel model, Tensor conditions, int imagesPerPrompt) =>
        [.. Enumerable.Range(0, (int)conditions.shape[0]).SelectMany(prompt =>
            Enumerable.Repeat(model.Prepare(conditions[prompt].Floats(), (int)conditions.shape[1]), imagesPerPrompt))];
}
