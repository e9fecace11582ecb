using System.Text.Json.Nodes;
using MetaQuery.Farm;
using MetaQuery.Silo;

namespace MetaQuery.Benchmarks;

/// <summary>Whole jobs through the embedded farm, as the client runs them.</summary>
internal sealed class OurFarm(string folder, string dtype, int slots, int threads) : IDisposable
{
    private readonly Lazy<LocalModel> _model = new(() => LocalModel.Load(folder, dtype, threads));

    /// <summary>A job of many prompts: conditions, denoising, PNGs, shards, manifest and contact sheet, in a folder of its own that is removed.</summary>
    public Action Bulk(JsonObject command) => () =>
    {
        var parent = Directory.CreateTempSubdirectory("metaquery-bench-");
        try
        {
            var result = new EmbeddedFarm(_model.Value).RunAsync(Spec(command, Path.Combine(parent.FullName, "out")), Options, progress: null, CancellationToken.None).GetAwaiter().GetResult();
            if (result.State != JobState.Completed)
            {
                throw new BenchmarkException($"the bulk job ended as {result.State}");
            }
        }
        finally
        {
            parent.Delete(recursive: true);
        }
    };

    /// <summary>The pictures' bytes, prompt by prompt.</summary>
    public JsonObject Pictures(JsonObject command)
    {
        var images = new EmbeddedFarm(_model.Value).GenerateAsync(Spec(command, "unused"), Options, progress: null, CancellationToken.None).GetAwaiter().GetResult();
        return new JsonObject { ["pixels"] = new JsonArray([.. images.Select(image => JsonValue.Create(Convert.ToBase64String(image.Image.Pixels)))]) };
    }

    public void Dispose()
    {
        if (_model.IsValueCreated)
        {
            _model.Value.Dispose();
        }
    }

    private FarmOptions Options => new() { Slots = slots };

    private static JobSpec Spec(JsonObject command, string outFolder) => new()
    {
        Prompts = [.. command["prompts"]!.AsArray().Select(text => text!.GetValue<string>())],
        OutFolder = outFolder,
        ImagesPerPrompt = command["images"]!.GetValue<int>(),
        NumInferenceSteps = command["steps"]!.GetValue<int>(),
        GuidanceScale = (float)command["guidance"]!.GetValue<double>(),
    };
}
