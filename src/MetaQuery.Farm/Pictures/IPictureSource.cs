namespace MetaQuery.Farm;

/// <summary>Where an encoder finds the pictures that prompts name by their hashes. Thread-safe.</summary>
public interface IPictureSource
{
    /// <param name="sha256">Lower-case hex.</param>
    /// <returns>The picture's file, which has this hash.</returns>
    /// <exception cref="PictureException">It is not there, or is not what its name says.</exception>
    /// <exception cref="PictureOutageException">Nothing can be read there now.</exception>
    ReadOnlyMemory<byte> Read(string sha256);

    /// <summary>Whether pictures can be read now.</summary>
    bool IsReachable => true;
}

/// <summary>Takes the pictures of jobs that are submitted.</summary>
internal interface IPictureKeeper
{
    /// <summary>Keeps a picture, if it is not there yet.</summary>
    /// <param name="sha256">Of <paramref name="file"/>, lower-case hex.</param>
    /// <param name="file">The picture's file.</param>
    /// <exception cref="Data.StorageException">The disk refused.</exception>
    void Keep(string sha256, ReadOnlySpan<byte> file);
}

/// <summary>A picture that a prompt names and that cannot be used: the prompt's samples are given up with this reason, the job goes on.</summary>
public sealed class PictureException(string message, Exception? inner = null) : FarmException(message, inner)
{
    /// <summary>Whether its file is larger than <see cref="PictureLimits.MaxBytes"/>.</summary>
    public bool IsTooLarge { get; init; }

    public override int ExitCode => ExitCodes.InvalidInput;
}

/// <summary>Where pictures are kept cannot be read now: nothing is said of the pictures, and prompts that name them wait.</summary>
public sealed class PictureOutageException(string message, Exception inner) : FarmException(message, inner)
{
    public override bool IsTransient => true;
    public override int ExitCode => ExitCodes.Storage;
}

/// <summary>What a picture may be.</summary>
public static class PictureLimits
{
    /// <summary>Bytes of its file.</summary>
    public const int MaxBytes = 32 << 20;

    /// <summary>Width × height: what is decoded takes three bytes each.</summary>
    public const long MaxPixels = 50_000_000;
}

/// <summary>The black pictures of guidance, which are known by their size alone; their names stand among a condition's hashes. Frozen by a test.</summary>
public static class BlackPicture
{
    private const string Prefix = "black ";

    public static string Name(int widthPixels, int heightPixels) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"{Prefix}{widthPixels}x{heightPixels}");

    /// <summary>Tells a black picture's name from a hash.</summary>
    public static bool TryParse(string name, out int widthPixels, out int heightPixels)
    {
        ArgumentNullException.ThrowIfNull(name);
        (widthPixels, heightPixels) = (0, 0);
        return name.StartsWith(Prefix, StringComparison.Ordinal) && name[Prefix.Length..].Split('x') is [{ } width, { } height]
            && TryParse(width, out widthPixels) && TryParse(height, out heightPixels);
    }

    private static bool TryParse(string side, out int pixels) =>
        int.TryParse(side, System.Globalization.NumberStyles.None, System.Globalization.CultureInfo.InvariantCulture, out pixels)
        && pixels is > 0 and <= Imaging.RgbImage.MaxSidePixels;
}
