using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using MetaQuery.Imaging;

namespace MetaQuery.Pipelines;

/// <summary>A picture of a prompt. Its pixels are read when they are needed: not where its features are known under its hash.</summary>
public sealed class PromptImage
{
    private readonly Func<RgbImage> _read;
    private readonly Lazy<(int Width, int Height)> _size;

    /// <param name="hash">Equal hashes mean equal pixels; vision features are kept under it.</param>
    /// <param name="read">Gives the pixels; may be called more than once.</param>
    public PromptImage(string hash, int widthPixels, int heightPixels, Func<RgbImage> read) =>
        (Hash, _size, _read) = (hash, new Lazy<(int, int)>((widthPixels, heightPixels)), read);

    private PromptImage(string hash, Lazy<(int, int)> size, Func<RgbImage> read) => (Hash, _size, _read) = (hash, size, read);

    public string Hash { get; }

    public int WidthPixels => _size.Value.Width;

    public int HeightPixels => _size.Value.Height;

    /// <exception cref="ImageFormatException">The file is malformed behind its header, animated or too large.</exception>
    public RgbImage Read() => _read();

    /// <summary>A picture under SHA-256 of its size and pixels, lower-case hexadecimal.</summary>
    public static PromptImage Of(RgbImage pixels)
    {
        ArgumentNullException.ThrowIfNull(pixels);
        Span<byte> size = stackalloc byte[2 * sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(size, pixels.WidthPixels);
        BinaryPrimitives.WriteInt32LittleEndian(size[sizeof(int)..], pixels.HeightPixels);
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(size);
        hash.AppendData(pixels.Pixels);
        return new PromptImage(Convert.ToHexStringLower(hash.GetHashAndReset()), pixels.WidthPixels, pixels.HeightPixels, () => pixels);
    }

    /// <summary>A picture file under SHA-256 of its bytes, lower-case hexadecimal. The header alone is read.</summary>
    /// <param name="file">Kept, and decoded when the pixels are needed.</param>
    /// <param name="maxPixels">A picture of more is refused.</param>
    /// <exception cref="ImageFormatException">Not a picture that is read here, animated or too large.</exception>
    public static PromptImage OfFile(ReadOnlyMemory<byte> file, long maxPixels = ImageDecoder.DefaultMaxPixels)
    {
        var header = ImageDecoder.IdentifyStill(file.Span, maxPixels);
        return new PromptImage(
            Convert.ToHexStringLower(SHA256.HashData(file.Span)), header.WidthPixels, header.HeightPixels, () => ImageDecoder.Decode(file.Span, maxPixels));
    }

    /// <summary>A picture file that lies somewhere under its hash: it is fetched only where its features are not known.</summary>
    /// <param name="sha256">Of the file, lower-case hexadecimal; whoever fetches it has compared it.</param>
    /// <param name="fetch">Gives the file; may be called more than once.</param>
    /// <param name="maxPixels">A picture of more is refused when it is read.</param>
    public static PromptImage OfStored(string sha256, Func<ReadOnlyMemory<byte>> fetch, long maxPixels = ImageDecoder.DefaultMaxPixels) => new(
        sha256,
        new Lazy<(int, int)>(() =>
        {
            var header = ImageDecoder.IdentifyStill(fetch().Span, maxPixels);
            return (header.WidthPixels, header.HeightPixels);
        }),
        () => ImageDecoder.Decode(fetch().Span, maxPixels));

    /// <summary>A black picture of the same size: what the unconditional branch sees.</summary>
    public PromptImage Blackened() => Black(WidthPixels, HeightPixels);

    /// <summary>A black picture, known by its size.</summary>
    public static PromptImage Black(int widthPixels, int heightPixels) =>
        new(string.Create(CultureInfo.InvariantCulture, $"black {widthPixels} x {heightPixels}"), widthPixels, heightPixels, () => new RgbImage(widthPixels, heightPixels));
}

/// <summary>What a condition is made of: pictures, then the caption.</summary>
public sealed record ConditionPrompt(string Caption, IReadOnlyList<PromptImage> Images)
{
    public ConditionPrompt(string caption) : this(caption, []) { }

    /// <summary>The branches of guidance in the order in which a denoiser takes them (facebookresearch/metaquery, sample_images): the empty caption with
    /// black pictures, the empty caption with the pictures, the prompt itself. Without pictures the first and the last.</summary>
    public IReadOnlyList<ConditionPrompt> GuidanceBranches() => Images.Count == 0
        ? [new ConditionPrompt(""), this]
        : [new ConditionPrompt("", [.. Images.Select(image => image.Blackened())]), this with { Caption = "" }, this];
}
