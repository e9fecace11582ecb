using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using FsCheck.Xunit;

namespace MetaQuery.Imaging.Tests;

public sealed class PngTests
{
    [Property(MaxTest = 300)]
    public bool Any_picture_reads_back_as_it_was(byte[] bytes, byte width, byte height)
    {
        RgbImage image = TestPictures.From(bytes, width, height);

        RgbImage back = ImageDecoder.Decode(PngEncoder.Encode(image));

        return back.WidthPixels == image.WidthPixels && back.HeightPixels == image.HeightPixels && back.Pixels.AsSpan().SequenceEqual(image.Pixels);
    }

    [Fact]
    public void The_bytes_of_a_picture_never_change()
    {
        byte[] photo = PngEncoder.Encode(TestPictures.Photo(64, 64), [new ImageText("prompt", "a red apple"), new ImageText("Comment", "é and 漢字")]);

        // frozen: another hash means that every shard changes, and asks for another PngEncoder.Identity
        Assert.Equal("png/1", PngEncoder.Identity);
        Assert.True(FrozenPhoto == Convert.ToHexStringLower(SHA256.HashData(photo)), Convert.ToHexStringLower(SHA256.HashData(photo)));
    }

    [Fact]
    public void Another_decoder_reads_the_same_pixels()
    {
        // libgd by way of libpng, through its own PNG reader: neither our chunks nor our inflating is asked
        RgbImage image = TestPictures.Photo(131, 77);

        Assert.Equal(image.Pixels, GdPng.Decode(PngEncoder.Encode(image)).Pixels);
    }

    [Fact]
    public void Texts_travel_in_chunks_of_their_own()
    {
        ImageText[] texts = [new("prompt", "a red apple, noto style"), new("parameters", "{\"seed\":7}\nünï"), new("Title", "苹果 🍎"), new("empty", "")];

        byte[] file = PngEncoder.Encode(TestPictures.Photo(8, 8), texts);

        Assert.Equal(texts, PngText.Read(file));
        Assert.Equal(3, Count(file, "tEXt"));
        Assert.Equal(1, Count(file, "iTXt"));
    }

    [Theory]
    [InlineData("")]
    [InlineData(" a")]
    [InlineData("a ")]
    [InlineData("a  b")]
    [InlineData("a\nb")]
    [InlineData("苹果")]
    [InlineData("0123456789012345678901234567890123456789012345678901234567890123456789012345678 9")]
    public void A_keyword_that_PNG_does_not_allow_is_refused(string keyword) =>
        Assert.Throws<ArgumentException>(() => PngEncoder.Encode(new RgbImage(1, 1), [new ImageText(keyword, "x")]));

    [Fact]
    public void Packed_texts_of_other_writers_are_read()
    {
        using var packed = new MemoryStream();
        using (var zlib = new ZLibStream(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            zlib.Write(Encoding.Latin1.GetBytes("déjà vu"));
        }

        using var file = new MemoryStream();
        file.Write(PngChunks.Signature);
        PngChunks.Write(file, "zTXt"u8, [.. "Comment"u8, 0, 0, .. packed.ToArray()]);
        PngChunks.Write(file, "IEND"u8, []);

        Assert.Equal([new ImageText("Comment", "déjà vu")], PngText.Read(file.ToArray()));
    }

    [Fact]
    public void Every_cut_of_every_golden_PNG_is_refused()
    {
        foreach (string name in GoldenNames())
        {
            byte[] file = Fixtures.Bytes(name);
            for (int length = 0; length < file.Length; length += Math.Max(1, file.Length / 60))
            {
                ImageFormatException thrown = Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(file.AsSpan(0, length)));
                Assert.DoesNotContain('\n', thrown.Message);
            }
        }
    }

    [Fact]
    public void Rows_that_are_missing_behind_whole_chunks_are_noticed()
    {
        // the truncation that only the packed data know of: all chunks whole, half of the rows
        byte[] whole = PngEncoder.Encode(new RgbImage(9, 8));
        byte[] half = PngEncoder.Encode(new RgbImage(9, 4));
        byte[] file = [.. whole.AsSpan(0, 33), .. half.AsSpan(33)];

        Assert.Contains("its pixels end in row 4 of 8", Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(file)).Message, StringComparison.Ordinal);
    }

    [Property(MaxTest = 2000)]
    public bool A_damaged_PNG_gives_a_picture_or_an_error_and_nothing_else(ushort place, byte value, byte which, bool repair)
    {
        string[] names = [.. GoldenNames()];
        byte[] file = Fixtures.Bytes(names[which % names.Length]);
        int at = 8 + (place % (file.Length - 8));
        file[at] = value;
        if (repair)
        {
            RepairChecksums(file);
        }

        try
        {
            return ImageDecoder.Decode(file, maxPixels: 1 << 20) is not null;
        }
        catch (ImageFormatException)
        {
            return true;
        }
    }

    [Fact]
    public void A_bomb_is_refused_by_its_header()
    {
        byte[] file = PngEncoder.Encode(new RgbImage(1, 1));
        System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(file.AsSpan(16), 60_000);
        System.Buffers.Binary.BinaryPrimitives.WriteInt32BigEndian(file.AsSpan(20), 60_000);
        RepairChecksums(file);
        long before = GC.GetAllocatedBytesForCurrentThread();

        Assert.Contains("60000 × 60000", Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(file)).Message, StringComparison.Ordinal);
        Assert.Contains("cannot hold 60000 × 60000", Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(file, long.MaxValue)).Message, StringComparison.Ordinal);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 200_000);
    }

    [Fact]
    public void An_animated_PNG_is_refused()
    {
        byte[] still = PngEncoder.Encode(new RgbImage(2, 2));
        using var file = new MemoryStream();
        file.Write(still.AsSpan(0, 33));
        PngChunks.Write(file, "acTL"u8, [0, 0, 0, 2, 0, 0, 0, 0]);
        file.Write(still.AsSpan(33));

        Assert.True(ImageDecoder.Identify(file.ToArray()).IsAnimated);
        Assert.Contains("animated", Assert.Throws<ImageFormatException>(() => ImageDecoder.Decode(file.ToArray())).Message, StringComparison.Ordinal);
    }

    private const string FrozenPhoto = "6bd5383fad8be9a0f784a498cf9d6f4ca5ddd2b85b2a923173d3c05a3fd5dc28";

    private static IEnumerable<string> GoldenNames() =>
        Fixtures.Files.Select(file => file.GetProperty("file").GetString()!).Where(name => name.EndsWith(".png", StringComparison.Ordinal));

    private static int Count(byte[] file, string type)
    {
        int count = 0;
        for (int at = PngChunks.Signature.Length; at < file.Length;)
        {
            count += PngChunks.Read(file, ref at).Type == type ? 1 : 0;
        }

        return count;
    }

    private static void RepairChecksums(byte[] file)
    {
        int at = 8;
        while (file.Length - at >= PngChunks.OverheadBytes)
        {
            uint length = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(file.AsSpan(at));
            if (length > file.Length - at - PngChunks.OverheadBytes)
            {
                return;
            }

            uint crc = PngChunks.Crc32(file.AsSpan(at + 4, (int)length + 4));
            System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(file.AsSpan(at + 8 + (int)length), crc);
            at += (int)length + PngChunks.OverheadBytes;
        }
    }
}
