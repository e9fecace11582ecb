using System.Security.Cryptography;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>A line's pictures, or why it cannot be made.</summary>
internal readonly record struct LinePictures(IReadOnlyList<LinePicture> Pictures, string? Fault)
{
    /// <summary>With the pictures in the place of their names.</summary>
    public PromptLine On(PromptLine line) => new()
    {
        Line = line.Line,
        Index = line.Index,
        Prompt = line.Prompt,
        Id = line.Id,
        IdIsNumber = line.IdIsNumber,
        Seed = line.Seed,
        NumInferenceSteps = line.NumInferenceSteps,
        GuidanceScale = line.GuidanceScale,
        NegativePrompt = line.NegativePrompt,
        ImageGuidanceScale = line.ImageGuidanceScale,
        Pictures = Pictures,
        OtherFields = line.OtherFields,
    };
}

/// <summary>How a job's pictures are got at.</summary>
internal sealed record PictureInput
{
    /// <summary>Opens what is no data: URI; throws <see cref="PictureException"/>.</summary>
    public Func<string, byte[]> Open { get; init; } = PictureFiles.Nothing;

    /// <summary>Takes them; null where they are looked at alone.</summary>
    public IPictureKeeper? Keeper { get; init; }

    /// <summary>What the model takes: <see cref="ModelDescription.PictureRefusal"/>.</summary>
    public Func<int, int, string?>? Refusal { get; init; }

    /// <summary>Where it is written down what they are; null for memory.</summary>
    public string? IndexPath { get; init; }

    /// <summary>What was written down when the job was taken: nothing is opened then.</summary>
    public PictureIndex? Known { get; init; }
}

/// <summary>Looks at the pictures of a job's prompts, once each: what is wrong with one is told of its line alone. Not thread-safe.</summary>
internal sealed class PictureIntake(PictureInput input)
{
    private const int MostRemembered = 65_536;

    private readonly Dictionary<string, Look> _byName = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Look> _byHash = new(StringComparer.Ordinal);

    /// <exception cref="StorageException">A picture could not be kept.</exception>
    public LinePictures Take(PromptLine line)
    {
        if (input.Refusal is null)
        {
            return new LinePictures([], "the prompt has pictures, and the model reads none");
        }

        var pictures = new List<LinePicture>(line.Images.Count);
        foreach (string name in line.Images)
        {
            Look look = LookAt(name);
            if (look.Picture is not { } picture)
            {
                return new LinePictures([], look.Fault);
            }

            pictures.Add(picture);
        }

        return new LinePictures(pictures, null);
    }

    /// <summary>Opens a picture again, to keep it.</summary>
    /// <exception cref="PromptFileException">It is another one by now.</exception>
    public static void Keep(string name, LinePicture picture, Func<string, byte[]> open, IPictureKeeper keeper)
    {
        byte[] file = [];
        try
        {
            file = Open(name, open);
        }
        catch (PictureException)
        {
            // told below: it was there a moment ago
        }

        keeper.Keep(
            Convert.ToHexStringLower(SHA256.HashData(file)) == picture.Sha256
                ? picture.Sha256 : throw new PromptFileException($"{PictureFiles.Shown(name)}: changed while the job was begun"), file);
    }

    private static byte[] Open(string name, Func<string, byte[]> open) => DataUri.IsOne(name) ? DataUri.Read(name, PictureFiles.Shown(name)) : open(name);

    private Look LookAt(string name)
    {
        bool isData = DataUri.IsOne(name);
        if (!isData && _byName.TryGetValue(name, out Look known))
        {
            return known;
        }

        Look look;
        try
        {
            look = LookAt(Open(name, input.Open), PictureFiles.Shown(name));
        }
        catch (PictureException exception)
        {
            look = new Look(null, exception.Message);
        }

        return isData ? look : Remember(_byName, name, look);
    }

    private Look LookAt(byte[] file, string shown)
    {
        string sha256 = Convert.ToHexStringLower(SHA256.HashData(file));
        if (_byHash.TryGetValue(sha256, out Look known))
        {
            return known;
        }

        try
        {
            // its header first: what is too large is not decoded
            ImageHeader header = ImageDecoder.IdentifyStill(file, PictureLimits.MaxPixels);
            if (input.Refusal!(header.WidthPixels, header.HeightPixels) is { } refused)
            {
                return new Look(null, $"{shown}: {refused}");
            }

            ImageDecoder.Decode(file, PictureLimits.MaxPixels);
            input.Keeper?.Keep(sha256, file);
            return Remember(_byHash, sha256, new Look(new LinePicture(sha256, header.WidthPixels, header.HeightPixels), null));
        }
        catch (Exception exception) when (exception is ImageFormatException or ImageLibraryException)
        {
            return new Look(null, $"{shown}: {exception.Message}");
        }
    }

    private static Look Remember(Dictionary<string, Look> looks, string key, Look look)
    {
        if (looks.Count == MostRemembered)
        {
            looks.Clear(); // what comes again is looked at again
        }

        looks[key] = look;
        return look;
    }

    private readonly record struct Look(LinePicture? Picture, string? Fault);
}
