using System.Text.Json;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Diffusion;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Stable Diffusion's UNet: its output and every recorded intermediate.</summary>
public sealed class UNet2DConditionKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["unet2d-condition"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var folder = HuggingFaceFolder.Open(parityCase.Folder);
        using var weights = folder.OpenWeights();
        using var model = UNet2DConditionModel.Load(weights, UNet2DConditionConfig.Read(folder.ReadConfig()));
        Assert.Empty(weights.Keys.Except(model.Parameters.Keys));
        foreach (var (name, json) in parityCase.Cases())
        {
            RunCase(parityCase, report, model, name, json);
        }
    }

    private static void RunCase(ParityCase parityCase, ParityReport report, UNet2DConditionModel model, string name, JsonElement json)
    {
        using var scope = NewDisposeScope();
        var intermediates = json.Texts("intermediates");
        var recorded = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        model.Tap = DiffusionCases.Recorder(intermediates, $"{name}.at.", recorded);
        using var context = model.Prepare(parityCase.Argument(json, "encoder_hidden_states")!);
        var sample = model.Forward(parityCase.Argument(json, "sample")!, parityCase.Argument(json, "timestep")!.Floats(), context);
        parityCase.CompareIntermediates(report, intermediates, recorded);
        report.Close($"{name}.sample", sample, parityCase.Expected.Load($"{name}.sample"), parityCase.Tolerance());
    }
}
