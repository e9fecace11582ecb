using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using MetaQuery.Imaging;
using MetaQuery.TestKit;
using TorchSharp;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Pictures as Pillow decodes and resizes them, and as torchvision crops and normalises them.</summary>
public sealed partial class ImagePreprocessKind : IParityKind
{
    private static readonly float[] Half = [0.5f, 0.5f, 0.5f]; // the mean and the deviation that the operation's own name states

    public IReadOnlyList<string> Kinds { get; } = ["image-preprocess"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        JpegTolerance jpeg = JpegTolerance.Of(parityCase);
        foreach (JsonElement file in parityCase.Json.GetProperty("files").EnumerateArray())
        {
            string name = file.GetProperty("file").GetString()!;
            string prefix = name.Split('_')[0];
            RgbImage expected = Picture(parityCase, $"{prefix}.rgb");
            RgbImage decoded = ImageDecoder.DecodeFile(parityCase.PathOf(name));
            report.Exact($"{name} size", [decoded.WidthPixels, decoded.HeightPixels], new[] { Number(file, "width"), Number(file, "height") });
            if (ImageDecoder.Identify(File.ReadAllBytes(parityCase.PathOf(name))).Format == ImageFormat.Png)
            {
                Same(report, name, decoded, expected);
            }
            else
            {
                jpeg.Compare(report, name, decoded, expected);
            }

            // from the expected samples, so that a JPEG decoder's own rounding does not spread
            foreach (JsonElement operation in file.GetProperty("operations").EnumerateArray())
            {
                RunOperation(parityCase, report, expected, operation);
            }
        }

        foreach (JsonElement row in parityCase.Json.GetProperty("sizeTable").EnumerateArray())
        {
            CompareSizes(report, row);
        }
    }

    private static void RunOperation(ParityCase parityCase, ParityReport report, RgbImage source, JsonElement operation)
    {
        string tensor = operation.GetProperty("tensor").GetString()!;
        string name = operation.GetProperty("op").GetString()!;
        switch (name)
        {
            case "PIL resize":
                ResampleFilter filter = Enum.Parse<ResampleFilter>(operation.GetProperty("filter").GetString()!, ignoreCase: true);
                Same(report, tensor, PillowResize.Resize(source, Number(operation, "width"), Number(operation, "height"), filter), Picture(parityCase, tensor));
                break;
            case "Resize(shorter side)":
                Same(report, tensor, ImageTransforms.ResizeShorterSide(source, Number(operation, "size")), Picture(parityCase, tensor));
                break;
            case "Resize + CenterCrop":
                Same(report, tensor, Crop(source, Number(operation, "size")), Picture(parityCase, tensor));
                break;
            case var target when target.StartsWith("Resize + CenterCrop + /255 + (x-0.5)/0.5", StringComparison.Ordinal):
                float[] planes = ImageTransforms.ToNormalizedPlanes(Crop(source, Number(operation, "size")), Half, Half);
                using (torch.Tensor expected = parityCase.Expected.Load(tensor))
                {
                    report.Close(tensor, planes, expected.data<float>().ToArray(), parityCase.Tolerance("target"));
                }

                break;
            default:
                report.That(tensor, holds: false, $"the operation \"{name}\" is not known here");
                break;
        }
    }

    private static void CompareSizes(ParityReport report, JsonElement row)
    {
        (int width, int height, int size) = (Number(row, "width"), Number(row, "height"), Number(row, "size"));
        (int resizedWidth, int resizedHeight) = ImageTransforms.ShorterSideSize(width, height, size);
        (int left, int top) = ImageTransforms.CenterCropOffset(resizedWidth, resizedHeight, size);

        // offsets were read off a picture that numbers its pixels in 12 bits
        const int Numbered = 4096;
        report.Exact(
            $"size table {width}×{height} to {size}",
            [resizedWidth, resizedHeight, left % Numbered, top % Numbered],
            new[] { Number(row, "resizedWidth"), Number(row, "resizedHeight"), Number(row, "cropLeft"), Number(row, "cropTop") });
    }

    private static RgbImage Crop(RgbImage source, int sizePixels) =>
        ImageTransforms.CenterCrop(ImageTransforms.ResizeShorterSide(source, sizePixels), sizePixels);

    private static void Same(ParityReport report, string what, RgbImage actual, RgbImage expected)
    {
        report.Exact($"{what} size", [actual.WidthPixels, actual.HeightPixels], new[] { expected.WidthPixels, expected.HeightPixels });
        report.Exact<byte>(what, actual.Pixels.AsSpan(), expected.Pixels.AsSpan());
    }

    private static RgbImage Picture(ParityCase parityCase, string tensor)
    {
        using torch.Tensor samples = parityCase.Expected.Load(tensor); // [height, width, 3], uint8
        return new RgbImage((int)samples.shape[1], (int)samples.shape[0], samples.data<byte>().ToArray());
    }

    private static int Number(JsonElement element, string name) => element.GetProperty(name).GetInt32();

    /// <summary>The case states it in words: "each sample within 3 of the expected, mean absolute difference below 0.6 (…)".</summary>
    private sealed partial record JpegTolerance(double Largest, double Mean)
    {
        public static JpegTolerance Of(ParityCase parityCase)
        {
            string text = parityCase.Json.GetProperty("tolerance").GetProperty("jpeg decode").GetString()!;
            Match match = Words().Match(text);
            return match.Success
                ? new JpegTolerance(double.Parse(match.Groups[1].Value, CultureInfo.InvariantCulture), double.Parse(match.Groups[2].Value, CultureInfo.InvariantCulture))
                : throw new ParityCaseException($"{parityCase.Name}: the tolerance of JPEG decoding, \"{text}\", is not understood");
        }

        public void Compare(ParityReport report, string what, RgbImage actual, RgbImage expected)
        {
            float[] a = [.. actual.Pixels.Select(sample => (float)sample)];
            float[] e = [.. expected.Pixels.Select(sample => (float)sample)];
            report.Close(what, a, e, new ParityTolerance(Largest, 0));
            double mean = a.Length == e.Length ? a.Zip(e, (x, y) => Math.Abs(x - y)).Average() : double.PositiveInfinity;
            report.Close($"{what} mean difference", mean, 0, new ParityTolerance(Mean, 0));
        }

        [GeneratedRegex(@"within ([\d.]+) of the expected, mean absolute difference below ([\d.]*\d)")]
        private static partial Regex Words();
    }
}
