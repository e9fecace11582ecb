using System.Text.Json;
using MetaQuery.Imaging;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Qwen2.5-VL's image processor at the limits that MetaQuery sets: sizes, resized samples, patches, and what is refused.</summary>
public sealed class QwenPreprocessKind : IParityKind
{
    private const int PatchSize = 14; // of the reference's processor, made in code by this case
    private const int MergeSize = 2;
    private const int Frames = 2;

    public IReadOnlyList<string> Kinds => ["qwen2_5-vl-preprocess"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        var scaling = new PixelScaling(1 / 255.0, Floats(parityCase, "imageMean"), Floats(parityCase, "imageStd"));
        var processor = new QwenImageProcessor(256 * 28 * 28, 1280 * 28 * 28, PatchSize, MergeSize, Frames, scaling);
        foreach (var (i, row) in parityCase.Json.GetProperty("images").EnumerateArray().Index())
            Image(parityCase, report, processor, i, row);
        foreach (var row in parityCase.Json.GetProperty("smartResize").EnumerateArray())
            Size(report, processor with { MinPixels = row.GetProperty("min").GetInt64(), MaxPixels = row.GetProperty("max").GetInt64() }, row);
    }

    private static void Image(ParityCase parityCase, ParityReport report, QwenImageProcessor processor, int i, JsonElement row)
    {
        var image = ImageDecoder.DecodeFile(parityCase.PathOf(row.GetProperty("image").GetString()!));
        var processed = processor.Process(image);
        var (height, width) = (processed.Rows * PatchSize, processed.Columns * PatchSize);
        report.Exact<long>($"{i}: size", [width, height, processed.Shape[0]], [row.GetProperty("resizedWidth").GetInt32(), row.GetProperty("resizedHeight").GetInt32(), row.GetProperty("patches").GetInt32()]);
        report.Exact<long>($"{i}.grid_thw", [1, processed.Rows, processed.Columns], parityCase.Expected.Load($"{i}.grid_thw").ToArray());

        var resized = PillowResize.Resize(image, width, height, ResampleFilter.Bicubic);
        foreach (var (name, y) in new[] { ("row0", 0), ("mid", height / 2), ("last", height - 1) })
            report.Exact<byte>($"{i}.resized_{name}", resized.Row(y), parityCase.Expected.Load($"{i}.resized_{name}").data<byte>().ToArray());
        report.Exact<long>($"{i}.resized_sum_per_row", [.. Enumerable.Range(0, height).Select(y => resized.Row(y).ToArray().Sum(sample => (long)sample))], parityCase.Expected.Load($"{i}.resized_sum_per_row").ToArray());

        var values = tensor(processed.Values, [.. processed.Shape]);
        var tolerance = parityCase.Tolerance("pixel");
        report.Close($"{i}.pixel_first4", values.narrow(0, 0, 4), parityCase.Expected.Load($"{i}.pixel_first4"), tolerance);
        report.Close($"{i}.pixel_last4", values.narrow(0, values.shape[0] - 4, 4), parityCase.Expected.Load($"{i}.pixel_last4"), tolerance);
        report.Close($"{i}.pixel_mean", values.mean([0]), parityCase.Expected.Load($"{i}.pixel_mean"), tolerance);
    }

    private static void Size(ParityReport report, QwenImageProcessor processor, JsonElement row)
    {
        var (height, width) = (row.GetProperty("height").GetInt32(), row.GetProperty("width").GetInt32());
        var name = $"smart resize of {width} x {height} within {processor.MinPixels} to {processor.MaxPixels}";
        try
        {
            var (newHeight, newWidth) = processor.SmartResize(height, width);
            report.That(name, !row.TryGetProperty("error", out _), $"is refused by the reference, here it gives {newWidth} x {newHeight}");
            if (row.TryGetProperty("outHeight", out var expected))
                report.Exact<long>(name, [newHeight, newWidth], [expected.GetInt32(), row.GetProperty("outWidth").GetInt32()]);
        }
        catch (ImageFormatException error)
        {
            // The reference goes on to fail where a side comes out as 0.
            var refused = row.TryGetProperty("error", out _) || row.GetProperty("outHeight").GetInt32() == 0 || row.GetProperty("outWidth").GetInt32() == 0;
            report.That(name, refused, $"is taken by the reference, here: {error.Message}");
        }
    }

    private static float[] Floats(ParityCase parityCase, string name) => [.. parityCase.Json.GetProperty(name).EnumerateArray().Select(value => value.GetSingle())];
}
