using System.Buffers.Text;

namespace MetaQuery.Farm;

/// <summary>Gets at pictures by the names that prompts give them.</summary>
internal static class PictureFiles
{
    private const string DataScheme = "data:";

    public static bool IsData(string name) => name.StartsWith(DataScheme, StringComparison.OrdinalIgnoreCase);

    /// <summary>A name as a reason shows it: one line, never a whole data: URI.</summary>
    public static string Shown(string name)
    {
        string line = new([.. name.Take(61).Select(letter => char.IsControl(letter) ? ' ' : letter)]);
        return IsData(name) ? "the data: URI" : line.Length <= 60 ? line : line[..57] + "...";
    }

    /// <summary>Reads <c>data:image/png;base64,…</c>; the media type is not looked at, the bytes tell.</summary>
    /// <exception cref="PictureException">Malformed, or too large.</exception>
    public static byte[] ReadData(string uri)
    {
        int comma = uri.IndexOf(',', StringComparison.Ordinal);
        if (comma < 0 || !uri.AsSpan(0, comma).EndsWith(";base64", StringComparison.OrdinalIgnoreCase))
        {
            throw new PictureException("the data: URI is not of the form data:image/png;base64,…");
        }

        ReadOnlySpan<char> digits = uri.AsSpan(comma + 1);
        if (digits.Length / 4L * 3 > PictureLimits.MaxBytes + 3)
        {
            throw TooLarge("the data: URI", digits.Length / 4L * 3);
        }

        byte[] file = new byte[Base64.GetMaxDecodedFromUtf8Length(digits.Length) + 3];
        if (!Convert.TryFromBase64Chars(digits, file, out int length))
        {
            throw new PictureException("the data: URI holds what is no base64");
        }

        return length <= PictureLimits.MaxBytes ? file[..length] : throw TooLarge("the data: URI", length);
    }

    /// <summary>Opens what a prompt file of this machine names: paths are relative to its folder.</summary>
    public static Func<string, byte[]> Beside(string folder) => name =>
    {
        string path;
        try
        {
            path = Path.GetFullPath(name, Path.GetFullPath(folder));
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            if (!file.CanSeek)
            {
                throw new PictureException($"{Shown(name)}: is no regular file");
            }

            if (file.Length > PictureLimits.MaxBytes)
            {
                throw TooLarge(Shown(name), file.Length);
            }

            byte[] bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new PictureException($"{Shown(name)}: there is no such file", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new PictureException($"{Shown(name)}: cannot be read", exception);
        }
    };

    /// <summary>For prompts that came without files.</summary>
    public static byte[] Nothing(string name) =>
        throw new PictureException($"{Shown(name)}: no picture of this name was uploaded; upload it along, or give it as a data: URI");

    private static PictureException TooLarge(string what, long bytes) => new($"{what} has {bytes} bytes; a picture may have {PictureLimits.MaxBytes}");
}
