using MetaQuery.Models.Checkpoints;
using MetaQuery.Sampling;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>The noise levels that flow training draws from, and the noisy latents and targets made with them.</summary>
public sealed class FlowTrainingLookupKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["flow-training-lookup"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        var table = FlowMatchEulerDiscreteScheduler.FromConfig(HuggingFaceFolder.Open(parityCase.Folder).ReadSchedulerConfig().Find).TrainingTable;
        var expected = parityCase.Expected;
        report.Close("table.timesteps", [.. table.Timesteps], expected.Load("table.timesteps").Floats(), parityCase.Tolerance("timesteps"));
        report.Close("table.sigmas", [.. table.Sigmas], expected.Load("table.sigmas").Floats(), parityCase.Tolerance("sigmas"));

        var indices = parityCase.Inputs.Load("u").Floats().Select(table.IndexOf).ToArray();
        report.Exact("indices", indices.Select(index => (long)index).ToArray(), expected.Load("indices").data<long>().ToArray());
        report.Close(
            "timesteps", [.. indices.Select(index => table.Timesteps[index])], expected.Load("timesteps").Floats(), parityCase.Tolerance("timesteps"));
        var sigmas = indices.Select(index => table.Sigmas[index]).ToArray();
        report.Close("sigmas", sigmas, expected.Load("sigmas").Floats(), parityCase.Tolerance("sigmas"));

        var (noisy, target) = FlowTrainingTable.Noise(
            parityCase.Inputs.Load("latents"), parityCase.Inputs.Load("noise"), tensor(sigmas, [sigmas.Length, 1, 1, 1]));
        report.Close("noisy_latents", noisy, expected.Load("noisy_latents"), parityCase.Tolerance("noisy_latents"));
        report.Close("target", target, expected.Load("target"), parityCase.Tolerance("target"));
    }
}
