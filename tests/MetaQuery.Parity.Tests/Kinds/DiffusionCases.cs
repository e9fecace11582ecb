using System.Text.Json;
using MetaQuery.Models.Layers;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>What the diffusion kinds share: the cases of a case.json and the recording of intermediate values.</summary>
internal static class DiffusionCases
{
    public static IEnumerable<(string Name, JsonElement Json)> Cases(this ParityCase parityCase) =>
        parityCase.Json.GetProperty("cases").EnumerateArray().Select(json => (json.GetProperty("name").GetString()!, json));

    /// <summary>The input that a case names for an argument, or null; the caller disposes of it.</summary>
    public static Tensor? Argument(this ParityCase parityCase, JsonElement json, string name) =>
        json.GetProperty("arguments").TryGetProperty(name, out var key) ? parityCase.Inputs.Load(key.GetString()!) : null;

    public static float[] Floats(this Tensor tensor)
    {
        using var wide = tensor.to(ScalarType.Float32);
        using var flat = wide.contiguous();
        return flat.data<float>().ToArray();
    }

    /// <summary>A tap that keeps a copy of every value a case expects of an intermediate.</summary>
    /// <param name="names">The case's "intermediates".</param>
    /// <param name="prefix">What stands before the module's path in them: "NAME.at.".</param>
    /// <param name="into">Where the copies go; the caller disposes of them.</param>
    public static ActivationTap Recorder(IReadOnlyCollection<string> names, string prefix, Dictionary<string, Tensor> into) => (path, value) =>
    {
        var key = prefix + path;
        if (names.Contains(key))
        {
            var copy = value.detach().clone();
            copy.DetachFromDisposeScope();
            // A module that runs again (encoding twice, say) shows its value again.
            into.GetValueOrDefault(key)?.Dispose();
            into[key] = copy;
        }
    };

    /// <summary>Compares what a <see cref="Recorder"/> kept with the case's intermediates, and gives it back.</summary>
    public static void CompareIntermediates(this ParityCase parityCase, ParityReport report, IEnumerable<string> names, Dictionary<string, Tensor> recorded)
    {
        foreach (var key in names)
        {
            report.That(key, recorded.ContainsKey(key), "the model does not show it");
            if (recorded.TryGetValue(key, out var value))
            {
                using (value)
                {
                    var tolerance = parityCase.Tolerance(key.Contains(".time_proj", StringComparison.Ordinal) ? "intermediates_time_proj" : "intermediates");
                    report.Close(key, value, parityCase.Expected.Load(key), tolerance);
                }
            }
        }
    }

    public static string[] Texts(this JsonElement json, string name) =>
        [.. json.GetProperty(name).EnumerateArray().Select(item => item.GetString()!)];
}
