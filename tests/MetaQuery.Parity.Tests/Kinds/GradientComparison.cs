using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Gradients against a case's expected_gradients.safetensors: of large matrices the first rows, of all the norm.</summary>
internal static class GradientComparison
{
    public static void Compare(IEnumerable<NamedWeight> weights, string prefix, ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        using var expected = SafetensorsFile.Open(parityCase.PathOf("expected_gradients.safetensors"));
        var tolerance = new ParityTolerance(parityCase.Json.GetProperty("gradientTolerance").GetProperty("relativeL2PerTensor").GetDouble(), 0);
        var norms = parityCase.Json.GetProperty("gradientNorms");
        var left = expected.Keys.ToHashSet(StringComparer.Ordinal);
        foreach (var weight in weights)
        {
            var key = prefix + weight.Key;
            report.That(key, left.Remove(key), "no gradient is expected for it");
            var gradient = weight.Gradient();
            if (gradient is null)
            {
                report.That(key, holds: false, "it has no gradient");
                continue;
            }

            var wanted = expected.Load(key);
            report.Close($"gradient of {key}", RelativeError(gradient.narrow(0, 0, wanted.shape[0]), wanted), 0, tolerance);
            var norm = norms.GetProperty(key).GetDouble();
            report.Close($"norm of the gradient of {key}", gradient.norm().item<float>() / norm, 1, tolerance);
        }

        foreach (var key in left)
            report.That(key, holds: false, "the module has no such weight");
    }

    public static double RelativeError(Tensor actual, Tensor expected) => (actual - expected).norm().item<float>() / expected.norm().item<float>();
}
