using System.Text.Json;

namespace MetaQuery.Imaging.Tests;

/// <summary>What Pillow 11.1 and torchvision made of the golden pictures.</summary>
public sealed class GoldenPictureTests
{
    public static TheoryData<string> FileNames() => [.. Fixtures.Files.Select(file => file.GetProperty("file").GetString()!)];

    public static TheoryData<int> SizeRows() => [.. Enumerable.Range(0, Fixtures.Case.GetProperty("sizeTable").GetArrayLength())];

    [Theory]
    [MemberData(nameof(FileNames))]
    public void A_picture_decodes_as_in_Pillow(string name)
    {
        RgbImage expected = Fixtures.Picture($"{name[..2]}.rgb");

        RgbImage actual = ImageDecoder.Decode(Fixtures.Bytes(name));

        Assert.Equal((expected.WidthPixels, expected.HeightPixels), (actual.WidthPixels, actual.HeightPixels));
        if (name.EndsWith(".png", StringComparison.Ordinal))
        {
            Assert.Equal(expected.Pixels, actual.Pixels);
            return;
        }

        // JPEG decoders differ in the inverse transform and in chroma upsampling: the case states 3 levels, 0.6 on average
        int[] differences = [.. expected.Pixels.Zip(actual.Pixels, (a, b) => Math.Abs(a - b))];
        Assert.InRange(differences.Max(), 0, 3);
        Assert.InRange(differences.Average(), 0, 0.6);
    }

    [Theory]
    [MemberData(nameof(FileNames))]
    public void Resizing_cropping_and_normalising_agree_with_Pillow_and_torchvision(string name)
    {
        JsonElement file = Fixtures.Files.Single(entry => entry.GetProperty("file").GetString() == name);
        RgbImage source = Fixtures.Picture($"{name[..2]}.rgb");
        foreach (JsonElement operation in file.GetProperty("operations").EnumerateArray())
        {
            string tensor = operation.GetProperty("tensor").GetString()!;
            int Number(string key) => operation.GetProperty(key).GetInt32();
            switch (operation.GetProperty("op").GetString()!)
            {
                case "PIL resize":
                    ResampleFilter filter = Enum.Parse<ResampleFilter>(operation.GetProperty("filter").GetString()!, ignoreCase: true);
                    AssertSame(tensor, PillowResize.Resize(source, Number("width"), Number("height"), filter));
                    break;
                case "Resize(shorter side)":
                    AssertSame(tensor, ImageTransforms.ResizeShorterSide(source, Number("size")));
                    break;
                case "Resize + CenterCrop":
                    AssertSame(tensor, Crop(source, Number("size")));
                    break;
                default:
                    float[] half = [0.5f, 0.5f, 0.5f];
                    float[] actual = ImageTransforms.ToNormalizedPlanes(Crop(source, Number("size")), half, half);
                    float[] expected = Fixtures.Floats(tensor);
                    Assert.Equal(expected.Length, actual.Length);
                    Assert.All(expected.Zip(actual), pair => Assert.InRange(Math.Abs(pair.First - pair.Second), 0, 1e-6f)); // the case's tolerance
                    break;
            }
        }
    }

    [Theory]
    [MemberData(nameof(SizeRows))]
    public void Sizes_and_crop_offsets_are_torchvisions(int row)
    {
        JsonElement entry = Fixtures.Case.GetProperty("sizeTable")[row];
        int Number(string key) => entry.GetProperty(key).GetInt32();

        (int width, int height) = ImageTransforms.ShorterSideSize(Number("width"), Number("height"), Number("size"));

        Assert.Equal((Number("resizedWidth"), Number("resizedHeight")), (width, height));

        // the table's offsets were read off a picture that numbers its pixels in 12 bits: those of very long pictures stand there modulo 4096
        (int left, int top) = ImageTransforms.CenterCropOffset(width, height, Number("size"));
        Assert.Equal((Number("cropLeft"), Number("cropTop")), (left % 4096, top % 4096));
    }

    private static RgbImage Crop(RgbImage source, int sizePixels) =>
        ImageTransforms.CenterCrop(ImageTransforms.ResizeShorterSide(source, sizePixels), sizePixels);

    private static void AssertSame(string tensor, RgbImage actual)
    {
        RgbImage expected = Fixtures.Picture(tensor);
        Assert.Equal((tensor, expected.WidthPixels, expected.HeightPixels), (tensor, actual.WidthPixels, actual.HeightPixels));
        Assert.True(expected.Pixels.AsSpan().SequenceEqual(actual.Pixels), $"{tensor} differs from byte {expected.Pixels.AsSpan().CommonPrefixLength(actual.Pixels)}");
    }
}
