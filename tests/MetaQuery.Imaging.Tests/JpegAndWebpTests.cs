using FsCheck.Xunit;

namespace MetaQuery.Imaging.Tests;

public sealed class JpegAndWebpTests
{
    [Theory]
    [InlineData(ImageFormat.Jpeg, 75, 26)] // chroma of half the size blurs the disc's edge, whatever the quality
    [InlineData(ImageFormat.Jpeg, 95, 36)]
    [InlineData(ImageFormat.Webp, 75, 26)]
    [InlineData(ImageFormat.Webp, 95, 27)]
    public void A_picture_comes_back_with_little_loss(ImageFormat format, int quality, double leastDecibels)
    {
        RgbImage image = TestPictures.Photo(120, 90);

        byte[] file = ImageEncoder.Encode(image, format, quality);
        RgbImage back = ImageDecoder.Decode(file);

        Assert.Equal(new ImageHeader(format, 120, 90, IsAnimated: false), ImageDecoder.Identify(file));
        double error = image.Pixels.Zip(back.Pixels, (a, b) => (double)(a - b) * (a - b)).Average();
        Assert.InRange(10 * Math.Log10(255 * 255 / error), leastDecibels, 99);
    }

    [Theory]
    [InlineData(ImageFormat.Jpeg)]
    [InlineData(ImageFormat.Webp)]
    public void The_same_picture_gives_the_same_bytes_on_any_thread(ImageFormat format)
    {
        RgbImage image = TestPictures.Photo(64, 64);
        byte[] once = ImageEncoder.Encode(image, format);

        byte[][] again = [.. Enumerable.Range(0, 16).AsParallel().Select(_ => ImageEncoder.Encode(image, format))];

        Assert.All(again, bytes => Assert.Equal(once, bytes));
        Assert.Equal(ImageEncoder.Identity(format), ImageEncoder.Identity(format));
        Assert.NotEqual(ImageEncoder.Identity(format, 80), ImageEncoder.Identity(format, 60));
    }

    [Theory]
    [InlineData(89, 0x22)]
    [InlineData(90, 0x11)]
    public void JPEG_halves_the_chroma_below_quality_90(int quality, byte sampling)
    {
        byte[] file = JpegEncoder.Encode(TestPictures.Photo(32, 32), quality);
        int frame = file.AsSpan().IndexOf((ReadOnlySpan<byte>)[0xFF, 0xC0]);

        Assert.Equal(sampling, file[frame + 11]); // the first component's factors
    }

    [Theory]
    [InlineData("05_jpeg420_67x49.jpg")]
    [InlineData("15_jpegprogressive_56x47.jpg")]
    [InlineData("17_jpegcmyk_32x32.jpg")]
    public void Every_cut_of_a_JPEG_is_refused(string name)
    {
        byte[] file = Fixtures.Bytes(name);
        for (int length = 0; length < file.Length - 1; length++)
        {
            Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(file.AsSpan(0, length)));
        }
    }

    [Fact]
    public void A_JPEG_that_ends_properly_but_lacks_pixels_is_refused()
    {
        byte[] file = JpegEncoder.Encode(TestPictures.Photo(200, 200));
        byte[] cut = [.. file.AsSpan(0, file.Length * 2 / 3), 0xFF, 0xD9];

        Assert.Contains("premature end of data segment", Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(cut)).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Bytes_behind_the_end_and_stray_bytes_between_segments_do_no_harm()
    {
        byte[] file = JpegEncoder.Encode(TestPictures.Photo(32, 32));
        RgbImage expected = ImageDecoder.Decode(file);

        Assert.Equal(expected.Pixels, ImageDecoder.Decode([.. file, 1, 2, 3]).Pixels);
        Assert.Equal(expected.Pixels, ImageDecoder.Decode([0xFF, 0xD8, 0xFF, 0xFE, 0, 4, 7, 7, 1, 2, 3, .. file.AsSpan(2)]).Pixels);
    }

    [Fact]
    public void Every_cut_of_a_WebP_is_refused()
    {
        byte[] file = WebpEncoder.Encode(TestPictures.Photo(40, 30));
        for (int length = 0; length < file.Length - 1; length++)
        {
            Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(file.AsSpan(0, length)));
        }
    }

    [Fact]
    public void An_animated_WebP_is_refused()
    {
        byte[] file = [.. "RIFF"u8, 22, 0, 0, 0, .. "WEBPVP8X"u8, 10, 0, 0, 0, 0x02, 0, 0, 0, 9, 0, 0, 9, 0, 0];

        Assert.Equal(new ImageHeader(ImageFormat.Webp, 10, 10, IsAnimated: true), ImageDecoder.Identify(file));
        Assert.Contains("animated", Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(file)).Message, StringComparison.Ordinal);
    }

    [Property(MaxTest = 600)]
    public bool A_damaged_file_gives_a_picture_or_an_error_and_nothing_else(ushort place, byte value, bool webp)
    {
        byte[] file = webp ? Webp.Value : Fixtures.Bytes("05_jpeg420_67x49.jpg");
        file = [.. file];
        file[place % file.Length] = value;
        try
        {
            return ImageDecoder.Decode(file, maxPixels: 1 << 20) is not null;
        }
        catch (ImageFormatException)
        {
            return true;
        }
    }

    [Property(MaxTest = 300)]
    public bool Random_bytes_are_refused(byte[] bytes)
    {
        try
        {
            ImageDecoder.Decode(bytes);
            return false;
        }
        catch (ImageFormatException)
        {
            return true;
        }
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(101)]
    public void A_quality_out_of_range_is_refused(int quality) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => JpegEncoder.Encode(new RgbImage(1, 1), quality));

    [Fact]
    public void A_file_is_named_in_its_error()
    {
        Assert.StartsWith("/nowhere/x.png: ", Assert.Throws<ImageFormatException>(() => ImageDecoder.DecodeFile("/nowhere/x.png")).Message, StringComparison.Ordinal);
    }

    private static readonly Lazy<byte[]> Webp = new(static () => WebpEncoder.Encode(TestPictures.Photo(40, 30)));
}
