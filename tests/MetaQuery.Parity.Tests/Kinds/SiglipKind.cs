using System.Text.Json;
using MetaQuery.Imaging;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Vision;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>SigLIP: the processor's pixels, both encoders layer by layer, features and logits.</summary>
public sealed class SiglipKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["siglip"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var folder = HuggingFaceFolder.Open(parityCase.PathOf(parityCase.Json.GetProperty("model").GetString()!));
        var processor = ImageProcessors.ReadSiglip(ConfigFile.Open(Path.Combine(folder.Path, ImageProcessors.ConfigName)));
        var images = parityCase.Json.GetProperty("images").EnumerateArray().Select(image => processor.Process(CaseImages.Load(parityCase, image)));
        var pixels = stack(images.Select(image => tensor(image.Values, [.. image.Shape])), 0);
        // The case states no tolerance for pixels: that of the other processors.
        report.Close("pixel_values", pixels, parityCase.Inputs.Load("pixel_values"), new ParityTolerance(1e-6, 0));

        using var weights = folder.OpenWeights();
        foreach (var packed in new[] { false, true })
        {
            using var model = new SiglipModel(folder.ReadConfig(), weights, packed: packed);
            using var shown = new ObservedStates();
            var text = model.Text.Features(parityCase.Inputs.Load("input_ids"), (name, state) => shown.Add($"text_model.{name}", state));
            var image = model.Vision.Features(pixels, (name, state) => shown.Add($"vision_model.{name}", state));
            shown.Add("text_features", text);
            shown.Add("image_features", image);
            shown.Add("text_embeds_normalised", SiglipModel.Normalize(text));
            shown.Add("image_embeds_normalised", SiglipModel.Normalize(image));
            shown.Add("logits_per_text", model.LogitsPerText(text, image));
            foreach (var name in parityCase.Expected.Keys)
            {
                var tolerance = name.StartsWith("logits", StringComparison.Ordinal) ? CaseImages.Tolerance(parityCase, "logitsTolerance") : parityCase.Tolerance();
                report.That(name, shown.Find(name) is not null, "the model does not show it");
                if (shown.Find(name) is { } value)
                    report.Close(name + (packed ? " by packed layers" : ""), value, parityCase.Expected.Load(name), tolerance);
            }
        }
    }
}
