using System.Buffers.Binary;
using System.Security.Cryptography;
using MetaQuery.Imaging;

namespace MetaQuery.Pipelines;

/// <summary>A picture of a prompt.</summary>
/// <param name="Hash">Of the picture: equal hashes mean equal pixels, and its vision features are kept under it.</param>
public sealed record PromptImage(RgbImage Pixels, string Hash)
{
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
        return new PromptImage(pixels, Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    /// <summary>A black picture of the same size: what the unconditional branch sees.</summary>
    public PromptImage Blackened() => Of(new RgbImage(Pixels.WidthPixels, Pixels.HeightPixels));
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
