using System.Text.Json;
using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Diffusion;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>DC-AE: encoding and decoding, whole and in tiles, with every recorded intermediate.</summary>
public sealed class AutoencoderDCKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["autoencoder-dc"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var folder = HuggingFaceFolder.Open(parityCase.Folder);
        var config = AutoencoderDCConfig.Read(folder.ReadConfig());
        using var weights = folder.OpenWeights();
        using var model = AutoencoderDC.Load(weights, config);
        using var fused = FusedDecoder.WhyUnsupported(config, FusedPrecision.Float32) is null ? FusedDecoder.Load(weights, config, FusedPrecision.Float32) : null;
        foreach (var (name, json) in parityCase.Cases())
        {
            RunCase(parityCase, report, model, name, json);
            if (fused is not null && json.GetProperty("do").GetString() == "decode")
            {
                RunFused(parityCase, report, fused, config, name, json);
            }
        }
    }

    private static void RunFused(ParityCase parityCase, ParityReport report, FusedDecoder decoder, AutoencoderDCConfig config, string name, JsonElement json)
    {
        using var scope = NewDisposeScope();
        using var workspace = new FusedDecoderWorkspace(threads: 1);
        var latents = parityCase.Argument(json, "z")! * config.ScalingFactor;
        var expected = parityCase.Expected.Load($"{name}.sample");
        var image = new float[expected.NumberOfElements];
        var (rows, height, width) = ((int)latents.shape[0], (int)latents.shape[2], (int)latents.shape[3]);
        for (var row = 0; row < rows; row++)
        {
            decoder.Decode(latents[row].Floats(), height, width, image.AsSpan(row * (image.Length / rows), image.Length / rows), workspace);
        }

        report.Close($"{name}.sample by the fused kernels", tensor(image, expected.shape), expected, parityCase.Tolerance());
    }

    private static void RunCase(ParityCase parityCase, ParityReport report, AutoencoderDC model, string name, JsonElement json)
    {
        using var scope = NewDisposeScope();
        var intermediates = json.Texts("intermediates");
        var recorded = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        model.Tap = DiffusionCases.Recorder(intermediates, $"{name}.at.", recorded);
        model.Tiling = json.TryGetProperty("enable_tiling", out var tiling) ? Tiling(tiling) : null;
        var actual = new Dictionary<string, Tensor>(StringComparer.Ordinal);
        var what = json.GetProperty("do").GetString()!;
        var factor = model.Config.ScalingFactor;
        if (what.EndsWith("encode", StringComparison.Ordinal))
        {
            var scaled = model.Encode(parityCase.Argument(json, "x")!);
            actual[$"{name}.scaled_latent"] = scaled;
            actual[$"{name}.latent"] = scaled / factor;
        }
        else
        {
            // The case's latents are the decoder's own, unscaled; callers of Decode have scaled ones.
            var scaled = parityCase.Argument(json, "z")! * factor;
            actual[$"{name}.sample"] = model.Decode(scaled);
            model.Tiling = null;
            model.Tap = null;
            actual[$"{name}.untiled_sample"] = model.Decode(scaled);
        }

        parityCase.CompareIntermediates(report, intermediates, recorded);
        foreach (var key in json.Texts("expected"))
        {
            report.Close(key, actual[key], parityCase.Expected.Load(key), parityCase.Tolerance());
        }
    }

    private static AutoencoderTiling Tiling(JsonElement json) => new(
        json.GetProperty("tile_sample_min_height").GetInt32(), json.GetProperty("tile_sample_min_width").GetInt32(),
        json.GetProperty("tile_sample_stride_height").GetInt32(), json.GetProperty("tile_sample_stride_width").GetInt32());
}
