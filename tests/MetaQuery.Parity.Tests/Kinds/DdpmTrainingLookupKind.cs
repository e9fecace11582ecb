using MetaQuery.Models.Checkpoints;
using MetaQuery.Sampling;
using MetaQuery.TestKit;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>The noise table that epsilon and v-prediction train with, and the noisy latents and targets made with it.</summary>
public sealed class DdpmTrainingLookupKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["ddpm-training-lookup"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        var betas = DdpmScheduler.FromConfig(HuggingFaceFolder.Open(parityCase.Folder).ReadSchedulerConfig().Find).Betas;
        var expected = parityCase.Expected;
        report.Close("betas", [.. betas.Betas], expected.Load("betas").Floats(), parityCase.Tolerance("betas"));
        report.Close(
            "alphas_cumprod", [.. betas.AlphasCumulativeProduct], expected.Load("alphas_cumprod").Floats(), parityCase.Tolerance("alphas_cumprod"));

        var (latents, noise) = (parityCase.Inputs.Load("latents"), parityCase.Inputs.Load("noise"));
        var timesteps = parityCase.Inputs.Load("timesteps").data<long>().ToArray();
        report.Close("noisy_latents", betas.AddNoise(latents, noise, timesteps), expected.Load("noisy_latents"), parityCase.Tolerance("noisy_latents"));
        report.Close("velocity", betas.VelocityTarget(latents, noise, timesteps), expected.Load("velocity"), parityCase.Tolerance("velocity"));
    }
}
