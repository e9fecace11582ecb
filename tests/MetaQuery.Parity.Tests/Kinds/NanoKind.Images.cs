using MetaQuery.Imaging;
using MetaQuery.Pipelines;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

public sealed partial class NanoKind
{
    static partial void CompareImages(MetaQueryModelFolder folder, ParityCase parityCase, ParityReport report, ref bool compared)
    {
        foreach (var allowFused in new[] { false, true })
        {
            using var model = ImageModel.Load(folder, new ImageModelOptions { AllowFused = allowFused });
            using var velocity = model.CreateVelocityModel(threads: 1);
            CompareImages(model, velocity, parityCase, report);
        }

        compared = true;
    }

    private static void CompareImages(ImageModel model, IVelocityModel velocity, ParityCase parityCase, ParityReport report)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var expected = parityCase.Expected;
        var noise = expected.Load("latents.0");
        var rows = (int)noise.shape[0];
        var prompts = parityCase.Json.GetProperty("prompts").EnumerateArray().ToList();
        int IndexOf(Func<string, bool> predicate) =>
            prompts.First(prompt => predicate(prompt.GetProperty("prompt").GetString()!)).GetProperty("index").GetInt32();
        VelocityContext Prepare(int index)
        {
            var condition = expected.Load($"{index}.condition");
            return velocity.Prepare(condition.Floats(), (int)condition.shape[1]);
        }

        var empty = Prepare(IndexOf(text => text.Length == 0));
        var conditional = prompts.Where(prompt => prompt.GetProperty("prompt").GetString()!.Length > 0).Take(rows)
            .Select(prompt => Prepare(prompt.GetProperty("index").GetInt32())).ToArray();
        var scale = parityCase.Json.GetProperty("guidance_scale").GetSingle();
        using var run = model.Scheduler.Begin(parityCase.Json.GetProperty("steps").GetInt32());
        var by = $" ({model.KernelPath})";
        report.Exact("timesteps", run.Timesteps.Select(timestep => (long)timestep).ToArray(), expected.Load("timesteps").data<long>().ToArray());
        report.Close($"sigmas{by}", [.. run.Sigmas], expected.Load("sigmas").Floats(), new ParityTolerance(1e-6, 2e-6));
        var latents = SamplingLoop.Run(
            velocity, run, noise,
            new GuidedContexts([.. Enumerable.Repeat(empty, rows)], null, conditional, [.. Enumerable.Repeat(scale, rows)]),
            observe: step =>
            {
                if (expected.Contains($"velocity.{step.Index}"))
                {
                    report.Close($"velocity.{step.Index}{by}", step.Velocity, expected.Load($"velocity.{step.Index}"), parityCase.Tolerance("velocity"));
                }

                if (expected.Contains($"latents.{step.Index + 1}"))
                {
                    report.Close($"latents.{step.Index + 1}{by}", step.Latents, expected.Load($"latents.{step.Index + 1}"), parityCase.Tolerance("latents"));
                }
            });
        using var decoder = model.CreateDecoder(threads: 1);
        var decoded = decoder.Decode(latents);
        report.Close($"decoded{by}", decoded, expected.Load("decoded"), parityCase.Tolerance("decoded"));
        var images = ImageDenoiser.ToImages(decoded);
        for (var i = 0; i < rows; i++)
        {
            var picture = ImageDecoder.Decode(File.ReadAllBytes(parityCase.PathOf($"{i}.png")));
            // "at most 2 levels"
            report.Close(
                $"{i}.png{by}", [.. images[i].Pixels.Select(value => (float)value)], [.. picture.Pixels.Select(value => (float)value)], new ParityTolerance(2, 0));
        }

        foreach (var context in conditional.Append(empty))
        {
            context.Dispose();
        }
    }
}
