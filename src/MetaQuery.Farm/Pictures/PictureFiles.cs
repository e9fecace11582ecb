using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Gets at pictures by the names that prompts give them.</summary>
public static class PictureFiles
{
    private const string ShownData = "the data: URI";

    /// <summary>A name as a reason shows it: one line, never a whole data: URI.</summary>
    internal static string Shown(string name)
    {
        string line = new([.. name.Take(61).Select(letter => char.IsControl(letter) ? ' ' : letter)]);
        return DataUri.IsOne(name) ? ShownData : line.Length <= 60 ? line : line[..57] + "...";
    }

    /// <summary>Opens what a prompt file of this machine names: paths are relative to its folder. Throws <see cref="PictureException"/> for what is wrong with
    /// one, <see cref="PictureOutageException"/> where its folder gives nothing now.</summary>
    internal static Func<string, byte[]> Beside(string folder) => name =>
    {
        byte[] file = ReadFirst(name, folder);
        return file.Length <= PictureLimits.MaxBytes ? file : throw TooLarge(Shown(name));
    };

    /// <summary>Whether a picture that a prompt file names is there and may be read.</summary>
    /// <param name="folder">The prompt file's.</param>
    /// <exception cref="PictureOutageException">Its folder gives nothing now.</exception>
    public static bool CanBeRead(string name, string folder)
    {
        try
        {
            return Read(name, folder, static _ => true);
        }
        catch (PictureException)
        {
            return false; // whoever reads it says why
        }
    }

    /// <summary>Reads a picture that a prompt file names; of one that is too large the first <see cref="UploadedPicture.MostBytes"/>.</summary>
    /// <param name="folder">The prompt file's.</param>
    /// <exception cref="PictureException">It is not there, or may not be read.</exception>
    /// <exception cref="PictureOutageException">Its folder gives nothing now.</exception>
    public static byte[] ReadFirst(string name, string folder) => Read(name, folder, static file =>
    {
        byte[] bytes = new byte[Math.Min(file.Length, UploadedPicture.MostBytes)];
        file.ReadExactly(bytes);
        return bytes;
    });

    /// <summary>For prompts that came without files.</summary>
    internal static byte[] Nothing(string name) =>
        throw new PictureException($"{Shown(name)}: no picture of this name was uploaded; upload it along, or give it as a data: URI");

    /// <summary>Of one whose end was not read.</summary>
    internal static PictureException TooLarge(string what) => new($"{what} has more than {PictureLimits.MaxBytes} bytes; a picture may have no more") { IsTooLarge = true };

    internal static PictureException TooLarge(string what, long bytes) => new($"{what} has {bytes} bytes; a picture may have {PictureLimits.MaxBytes}") { IsTooLarge = true };

    // By errno: EIO, ENFILE and EMFILE, and of a mount that is gone ENOTCONN, ETIMEDOUT, EHOSTDOWN and ESTALE. All else is the picture's own fault.
    internal static bool IsOutage(Exception exception) => exception is IOException { HResult: 5 or 23 or 24 or 107 or 110 or 112 or 116 };

    private static T Read<T>(string name, string folder, Func<FileStream, T> read)
    {
        try
        {
            string path = Path.GetFullPath(name, Path.GetFullPath(folder));
            if (!RegularFile.MayBe(path))
            {
                throw new PictureException($"{Shown(name)}: is no regular file");
            }

            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            return read(file);
        }
        catch (Exception exception) when (exception is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new PictureException($"{Shown(name)}: there is no such file", exception);
        }
        catch (Exception exception) when (IsOutage(exception))
        {
            throw new PictureOutageException($"{Shown(name)}: cannot be read now: {exception.Message}", exception);
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new PictureException($"{Shown(name)}: cannot be read", exception);
        }
    }
}
