using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines;
using MetaQuery.Pipelines.Prompting;
using MetaQuery.Pipelines.Vision;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

public sealed partial class ConditionKind
{
    /// <summary>A prompt's tokens, and the pictures' features that they borrow.</summary>
    private sealed record Text(PromptTokens Prompt, List<ImageFeatures> Features) : IDisposable
    {
        public void Dispose() => Features.ForEach(features => features.Dispose());
    }

    private static Text Tokens(MllmInContext model, MetaQueryPrompt prompt, ConditionPrompt given)
    {
        var ids = prompt.Encode(given.Caption, given.Images.Count);
        if (given.Images.Count == 0)
            return new Text(new PromptTokens(ids), []);
        var features = given.Images.Select(image => model.Vision.Encode(image.Read())).ToList();
        return new Text(PromptTokens.Expand(ids, model.Vision.Tower.ImageTokenId, features), features);
    }

    /// <summary>The case holds samples of all pictures' pixels of a run, one picture behind the other.</summary>
    private static void ComparePixels(int run, List<ConditionPrompt> prompts, VisionModel vision, ParityCase parityCase, ParityReport report)
    {
        var processed = prompts.SelectMany(prompt => prompt.Images).Select(image => vision.Processor.Process(image.Read())).ToList();
        if (processed.Count == 0)
            return;
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var pixels = cat(processed.Select(image => tensor(image.Values, [.. image.Shape])).ToArray(), 0);
        var rows = pixels.shape[0];
        if (parityCase.Inputs.Contains($"{run}.image_grid_thw"))
            report.Exact<long>($"{run}.image_grid_thw", [.. processed.SelectMany(image => new long[] { 1, image.Rows, image.Columns })], parityCase.Inputs.Load($"{run}.image_grid_thw").ToArray());
        else
            report.Exact<long>($"{run}.image_sizes", [.. processed.SelectMany(image => new long[] { image.HeightPixels, image.WidthPixels })], parityCase.Inputs.Load($"{run}.image_sizes").ToArray());
        foreach (var key in parityCase.Expected.Keys.Where(key => key.StartsWith($"{run}.pixel_values.", StringComparison.Ordinal)))
        {
            var sample = key[$"{run}.pixel_values.".Length..] switch
            {
                "first2" => pixels.narrow(0, 0, 2),
                "last2" => pixels.narrow(0, rows - 2, 2),
                "row0" => pixels.select(2, 0),
                "row_mean" when pixels.dim() == 2 => pixels.mean([1]),
                "row_mean" => pixels.mean([3]),
                _ => null,
            };
            report.That(key, sample is not null, "such a sample is not known here");
            if (sample is not null)
                report.Close(key, sample, parityCase.Expected.Load(key), CaseImages.Tolerance(parityCase, "preprocessTolerance"));
        }
    }

    /// <summary>Many prompts about one picture run the tower once: only the encoder used this model.</summary>
    private static void CompareTowerRuns(IEnumerable<ConditionPrompt> prompts, MllmInContext model, ParityReport report)
    {
        var different = prompts.SelectMany(prompt => prompt.Images).Select(image => image.Hash).Distinct(StringComparer.Ordinal).Count();
        report.Exact<long>("runs of the vision tower", [different == 0 ? 0 : model.Vision.Passes], [different]);
    }
}
