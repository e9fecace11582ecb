using System.Text.Json;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Diffusion;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>The Sana transformer: its output and every recorded intermediate, on plain operators and by the fused kernels.</summary>
public sealed class SanaTransformerKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["sana-transformer"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var folder = HuggingFaceFolder.Open(parityCase.Folder);
        var config = SanaTransformerConfig.Read(folder.ReadConfig());
        using var weights = folder.OpenWeights();
        using var model = SanaTransformer2DModel.Load(weights, config);
        using var fused = FusedSanaTransformer.WhyUnsupported(config, FusedPrecision.Float32) is null
            ? FusedSanaTransformer.Load(weights, config, FusedPrecision.Float32)
            : null;
        foreach (var (name, json) in parityCase.Cases())
        {
            RunPlain(parityCase, report, model, name, json);
            if (fused is not null && parityCase.Argument(json, "encoder_attention_mask") is null)
            {
                RunFused(parityCase, report, fused, name, json);
            }
        }
    }

    private static void RunPlain(ParityCase parityCase, ParityReport report, SanaTransformer2DModel model, string name, JsonElement json)
    {
        using var scope = NewDisposeScope();
        var intermediates = json.Texts("intermediates");
        var recorded = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        model.Tap = DiffusionCases.Recorder(intermediates, $"{name}.at.", recorded);
        using var context = model.Prepare(parityCase.Argument(json, "encoder_hidden_states")!, parityCase.Argument(json, "encoder_attention_mask"));
        var sample = model.Forward(
            parityCase.Argument(json, "hidden_states")!, parityCase.Argument(json, "timestep")!.Floats(), context,
            parityCase.Argument(json, "guidance")?.Floats());
        parityCase.CompareIntermediates(report, intermediates, recorded);
        report.Close($"{name}.sample", sample, parityCase.Expected.Load($"{name}.sample"), parityCase.Tolerance());
    }

    private static void RunFused(ParityCase parityCase, ParityReport report, FusedSanaTransformer model, string name, JsonElement json)
    {
        using var scope = NewDisposeScope();
        var latents = parityCase.Argument(json, "hidden_states")!;
        var condition = parityCase.Argument(json, "encoder_hidden_states")!;
        var rows = (int)latents.shape[0];
        var contexts = Enumerable.Range(0, rows).Select(row => model.Prepare(condition[row].Floats(), (int)condition.shape[1])).ToArray();
        using var workspace = new FusedSanaWorkspace(threads: 1);
        var velocity = new float[rows * model.Config.OutChannels * latents.shape[2] * latents.shape[3]];
        model.Forward(
            latents.Floats(), rows, (int)latents.shape[2], (int)latents.shape[3], parityCase.Argument(json, "timestep")!.Floats(), contexts,
            velocity, workspace, parityCase.Argument(json, "guidance")?.Floats());
        foreach (var context in contexts)
        {
            context.Dispose();
        }

        var actual = tensor(velocity, [rows, model.Config.OutChannels, latents.shape[2], latents.shape[3]]);
        report.Close($"{name}.sample by the fused kernels", actual, parityCase.Expected.Load($"{name}.sample"), parityCase.Tolerance());
    }
}
