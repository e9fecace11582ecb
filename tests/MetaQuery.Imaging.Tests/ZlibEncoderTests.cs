using System.IO.Compression;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;

namespace MetaQuery.Imaging.Tests;

public sealed class ZlibEncoderTests
{
    [Property(MaxTest = 80)]
    public Property Anything_packed_is_unpacked_by_NETs_zlib_to_what_it_was() => Prop.ForAll(
        Inputs(),
        input => Unpack(new ZlibEncoder().Encode(input).ToArray()).AsSpan().SequenceEqual(input));

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(65_535)]
    [InlineData(65_536)]
    [InlineData(200_000)]
    public void Noise_is_stored_and_grows_by_a_few_bytes_only(int length)
    {
        byte[] noise = new byte[length];
        new Random(5).NextBytes(noise);

        byte[] packed = new ZlibEncoder().Encode(noise).ToArray();

        Assert.Equal(noise, Unpack(packed));
        Assert.InRange(packed.Length, 0, length + 20 + (length / 1000));
    }

    [Fact]
    public void Very_uneven_frequencies_keep_to_fifteen_bits()
    {
        // Fibonacci counts make the deepest Huffman tree: 23 levels for 28,656 symbols, cut to 15
        var input = new List<byte>();
        (int a, int b) = (1, 1);
        for (byte symbol = 0; input.Count + a < 30_000; symbol++)
        {
            for (int i = 0; i < a; i++)
            {
                input.Add((byte)(symbol * 7));
            }

            (a, b) = (b, a + b);
        }

        byte[] shuffled = [.. input];
        new Random(3).Shuffle(shuffled); // few matches: the literals keep their counts
        Assert.Equal(shuffled, Unpack(new ZlibEncoder().Encode(shuffled).ToArray()));
    }

    [Fact]
    public void The_rows_of_a_picture_pack_about_as_well_as_by_NETs_zlib()
    {
        byte[] file = PngEncoder.Encode(TestPictures.Photo(256, 256));
        int at = PngChunks.Signature.Length;
        PngChunks.Read(file, ref at);
        byte[] packed = PngChunks.Read(file, ref at).Data(file).ToArray();
        using var reference = new MemoryStream();
        using (var zlib = new ZLibStream(reference, CompressionLevel.Optimal, leaveOpen: true))
        {
            zlib.Write(Unpack(packed));
        }

        Assert.InRange(packed.Length, 0, reference.Length * 1.02);
    }

    [Fact]
    public void An_encoder_used_again_gives_the_same_bytes()
    {
        var encoder = new ZlibEncoder();
        byte[] first = encoder.Encode(TestPictures.Photo(90, 90).Pixels).ToArray();
        encoder.Encode(new byte[100_000]);

        Assert.Equal(first, encoder.Encode(TestPictures.Photo(90, 90).Pixels).ToArray());
    }

    private static byte[] Unpack(byte[] packed)
    {
        using var zlib = new ZLibStream(new MemoryStream(packed), CompressionMode.Decompress);
        using var raw = new MemoryStream();
        zlib.CopyTo(raw);
        return raw.ToArray();
    }

    /// <summary>Runs, repeats from near and far, noise: up to 100,000 bytes and a bit, so that several blocks and the whole window come into play.</summary>
    private static Arbitrary<byte[]> Inputs()
    {
        Gen<Func<List<byte>, IEnumerable<byte>>> run =
            from value in Gen.Choose(0, 255)
            from length in Gen.Choose(1, 2000)
            select (Func<List<byte>, IEnumerable<byte>>)(_ => Enumerable.Repeat((byte)value, length));
        Gen<Func<List<byte>, IEnumerable<byte>>> noise =
            from seed in Gen.Choose(0, 1 << 30)
            from length in Gen.Choose(1, 40_000)
            from bits in Gen.Choose(1, 8)
            select (Func<List<byte>, IEnumerable<byte>>)(_ =>
            {
                byte[] bytes = new byte[length];
                new Random(seed).NextBytes(bytes);
                return bytes.Select(value => (byte)(value >> (8 - bits)));
            });
        Gen<Func<List<byte>, IEnumerable<byte>>> repeat =
            from back in Gen.Choose(1, 40_000)
            from length in Gen.Choose(1, 5000)
            select (Func<List<byte>, IEnumerable<byte>>)(before => before.Count == 0 ? [1] : [.. before.Skip(Math.Max(0, before.Count - back)).Take(length)]);
        return Gen.OneOf(run, noise, repeat).ListOf().Select(parts =>
        {
            var bytes = new List<byte>();
            foreach (Func<List<byte>, IEnumerable<byte>> part in parts)
            {
                bytes.AddRange(part(bytes));
                if (bytes.Count > 100_000)
                {
                    break;
                }
            }

            return bytes.ToArray();
        }).ToArbitrary();
    }
}
