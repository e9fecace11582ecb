using System.Text.Json;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Sampling;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>The schedulers: timesteps, sigmas and whole trajectories over a closed-form model output.</summary>
public sealed class SchedulerKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["scheduler"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        var config = HuggingFaceFolder.Open(parityCase.Folder).ReadSchedulerConfig();
        var scheduler = Schedulers.Create(parityCase.Json.GetProperty("class").GetString()!, config.Find);
        if (parityCase.Expected.Contains("alphas_cumprod"))
        {
            report.Close("alphas_cumprod", [.. Alphas(scheduler)], parityCase.Expected.Load("alphas_cumprod").Floats(), parityCase.Tolerance("alphas_cumprod"));
        }

        foreach (var (name, json) in parityCase.Cases())
        {
            using var run = Begin(scheduler, json);
            Compare(parityCase, report, name, json, run);
        }
    }

    private static IReadOnlyList<float> Alphas(IScheduler scheduler) => scheduler switch
    {
        DpmSolverMultistepScheduler solver => solver.AlphasCumulativeProduct,
        DdimScheduler ddim => ddim.Betas.AlphasCumulativeProduct,
        DdpmScheduler ddpm => ddpm.Betas.AlphasCumulativeProduct,
        PndmScheduler pndm => pndm.Betas.AlphasCumulativeProduct,
        _ => throw new ParityCaseException($"{scheduler.GetType().Name} has no table of alphas"),
    };

    private static SamplingRun Begin(IScheduler scheduler, JsonElement json)
    {
        var steps = json.GetProperty("num_inference_steps").GetInt32();
        if (scheduler is not FlowMatchEulerDiscreteScheduler euler)
        {
            return scheduler.Begin(steps);
        }

        if (!json.TryGetProperty("sigmas", out var text))
        {
            return euler.BeginWithDefaultSigmas(steps);
        }

        // what Begin(steps) makes by itself
        var usual = $"np.linspace(1, 1/{steps}, {steps})";
        return text.GetString() == usual ? euler.Begin(steps) : throw new ParityCaseException($"sigmas \"{text.GetString()}\" is not {usual}");
    }

    private static void Compare(ParityCase parityCase, ParityReport report, string name, JsonElement json, SamplingRun run)
    {
        using var scope = NewDisposeScope();
        var dtype = json.GetProperty("timesteps_dtype").GetString()!;
        report.Close(
            $"{name}.timesteps", [.. run.Timesteps], parityCase.Expected.Load($"{name}.timesteps").Floats(), parityCase.Tolerance("timesteps", dtype));
        if (run.Sigmas.Count > 0 || parityCase.Expected.Contains($"{name}.sigmas"))
        {
            report.Close($"{name}.sigmas", [.. run.Sigmas], parityCase.Expected.Load($"{name}.sigmas").Floats(), parityCase.Tolerance("sigmas"));
        }

        var formula = parityCase.Json.GetProperty("model_output");
        double Value(string key) => formula.GetProperty(key).GetDouble();
        var latents = parityCase.Inputs.Load("latents");
        var noise = run.NeedsNoise ? parityCase.Inputs.Load($"{name}.noise") : null; // [steps, ...]
        var index = arange(latents.NumberOfElements, dtype: ScalarType.Float32).reshape(latents.shape);
        var states = new List<Tensor> { latents };
        foreach (var timestep in run.Timesteps)
        {
            var angle = (index * Value("d")) + (timestep / (float)Value("c"));
            var output = (states[^1] * Value("a")) + (angle.sin() * Value("b"));
            states.Add(run.Step(output, states[^1], noise?[run.StepIndex]));
        }

        report.Close($"{name}.latents", stack(states.ToArray()), parityCase.Expected.Load($"{name}.latents"), parityCase.Tolerance("latents"));
    }
}
