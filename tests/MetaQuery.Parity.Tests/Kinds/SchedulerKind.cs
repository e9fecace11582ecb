using System.Text.Json;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Sampling;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>The flow schedulers: timesteps, sigmas and whole trajectories over a closed-form model output.</summary>
public sealed class SchedulerKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["scheduler"];

    public string? NotCovered(ParityCase parityCase)
    {
        var config = parityCase.Json.GetProperty("effective_config");
        return parityCase.Json.GetProperty("class").GetString() switch
        {
            "FlowMatchEulerDiscreteScheduler" => null,
            "DPMSolverMultistepScheduler" => config.GetProperty("prediction_type").GetString() == "flow_prediction"
                ? null
                : $"DPM-Solver on {config.GetProperty("prediction_type").GetString()} belongs to the SD 1.5 variant, which is not built yet",
            var name => $"{name} belongs to the SD 1.5 variant, which is not built yet",
        };
    }

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        var config = HuggingFaceFolder.Open(parityCase.Folder).ReadSchedulerConfig();
        var isEuler = parityCase.Json.GetProperty("class").GetString() == "FlowMatchEulerDiscreteScheduler";
        if (!isEuler)
        {
            report.Close(
                "alphas_cumprod", [.. DpmSolverMultistepScheduler.FromConfig(config.Find).AlphasCumulativeProduct],
                parityCase.Expected.Load("alphas_cumprod").Floats(), parityCase.Tolerance("alphas_cumprod"));
        }

        foreach (var (name, json) in parityCase.Cases())
        {
            using var run = isEuler
                ? Begin(FlowMatchEulerDiscreteScheduler.FromConfig(config.Find), json)
                : DpmSolverMultistepScheduler.FromConfig(config.Find).Begin(json.GetProperty("num_inference_steps").GetInt32());
            Compare(parityCase, report, name, json, run);
        }
    }

    private static SamplingRun Begin(FlowMatchEulerDiscreteScheduler scheduler, JsonElement json)
    {
        var steps = json.GetProperty("num_inference_steps").GetInt32();
        if (!json.TryGetProperty("sigmas", out var text))
        {
            return scheduler.BeginWithDefaultSigmas(steps);
        }

        // what Begin(steps) makes by itself
        var usual = $"np.linspace(1, 1/{steps}, {steps})";
        return text.GetString() == usual ? scheduler.Begin(steps) : throw new ParityCaseException($"sigmas \"{text.GetString()}\" is not {usual}");
    }

    private static void Compare(ParityCase parityCase, ParityReport report, string name, JsonElement json, SamplingRun run)
    {
        using var scope = NewDisposeScope();
        var dtype = json.GetProperty("timesteps_dtype").GetString()!;
        report.Close(
            $"{name}.timesteps", [.. run.Timesteps], parityCase.Expected.Load($"{name}.timesteps").Floats(), parityCase.Tolerance("timesteps", dtype));
        report.Close($"{name}.sigmas", [.. run.Sigmas], parityCase.Expected.Load($"{name}.sigmas").Floats(), parityCase.Tolerance("sigmas"));

        var formula = parityCase.Json.GetProperty("model_output");
        double Value(string key) => formula.GetProperty(key).GetDouble();
        var latents = parityCase.Inputs.Load("latents");
        var index = arange(latents.NumberOfElements, dtype: ScalarType.Float32).reshape(latents.shape);
        var states = new List<Tensor> { latents };
        foreach (var timestep in run.Timesteps)
        {
            var angle = (index * Value("d")) + (timestep / (float)Value("c"));
            var output = (states[^1] * Value("a")) + (angle.sin() * Value("b"));
            states.Add(run.Step(output, states[^1]));
        }

        report.Close($"{name}.latents", stack(states.ToArray()), parityCase.Expected.Load($"{name}.latents"), parityCase.Tolerance("latents"));
    }
}
