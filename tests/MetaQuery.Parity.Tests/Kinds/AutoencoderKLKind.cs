using System.Text.Json;
using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Stable Diffusion's autoencoder: the latents' distribution, a draw from it, and decoding, with every recorded intermediate.</summary>
public sealed class AutoencoderKLKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["autoencoder-kl"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var folder = HuggingFaceFolder.Open(parityCase.Folder);
        using var weights = folder.OpenWeights();
        using var model = AutoencoderKL.Load(weights, AutoencoderKLConfig.Read(folder.ReadConfig()));
        Assert.Empty(weights.Keys.Except(model.Parameters.Keys));
        foreach (var (name, json) in parityCase.Cases())
        {
            RunCase(parityCase, report, model, name, json);
        }
    }

    private static void RunCase(ParityCase parityCase, ParityReport report, AutoencoderKL model, string name, JsonElement json)
    {
        using var scope = NewDisposeScope();
        var intermediates = json.Texts("intermediates");
        var recorded = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        model.Tap = DiffusionCases.Recorder(intermediates, $"{name}.at.", recorded);
        var actual = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        var config = model.Config;
        if (json.GetProperty("do").GetString() == "encode")
        {
            var (image, noise) = (parityCase.Argument(json, "x")!, parityCase.Argument(json, "noise")!);
            var (mean, logVariance) = model.Moments(image);
            var scaled = model.Encode(image, noise);
            actual[$"{name}.mean"] = mean;
            actual[$"{name}.logvar"] = logVariance;
            actual[$"{name}.std"] = (logVariance / 2).exp();
            actual[$"{name}.mode"] = (model.Encode(image) / config.ScalingFactor) + config.ShiftFactor;
            actual[$"{name}.sample"] = (scaled / config.ScalingFactor) + config.ShiftFactor;
            actual[$"{name}.scaled_sample"] = scaled;
        }
        else
        {
            // The case's latents are the decoder's own, unscaled; callers of Decode have scaled ones.
            actual[$"{name}.sample"] = model.Decode((parityCase.Argument(json, "z")! - config.ShiftFactor) * config.ScalingFactor);
        }

        parityCase.CompareIntermediates(report, intermediates, recorded);
        foreach (var key in json.Texts("expected"))
        {
            report.Close(key, actual[key], parityCase.Expected.Load(key), parityCase.Tolerance());
        }
    }
}
