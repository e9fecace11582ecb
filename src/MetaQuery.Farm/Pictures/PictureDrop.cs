using System.Security.Cryptography;
using System.Text;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>
/// Pictures that wait beside an uploaded prompt file for a head in another process: in <c>PROMPTFILE.pictures</c>, each under the SHA-256 of its name, so
/// that no name is ever a path.
/// </summary>
public static class PictureDrop
{
    /// <exception cref="JobSpecException">It is too large, or its name comes twice.</exception>
    /// <exception cref="StorageException">The disk refused.</exception>
    public static void Put(string promptFile, UploadedPicture picture)
    {
        ArgumentNullException.ThrowIfNull(picture);
        if (picture.File.Length > PictureLimits.MaxBytes)
        {
            throw new JobSpecException($"picture {PictureFiles.Shown(picture.Name)} has {picture.File.Length} bytes; a picture may have {PictureLimits.MaxBytes}");
        }

        string path = PathOf(promptFile, picture.Name);
        if (File.Exists(path))
        {
            throw new JobSpecException($"picture {PictureFiles.Shown(picture.Name)} comes twice");
        }

        try
        {
            Directory.CreateDirectory(FolderOf(promptFile));
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(exception, promptFile);
        }

        AtomicFile.WriteAllBytes(path, picture.File.Span);
    }

    /// <summary>The head has its own copies, or will never ask for them.</summary>
    public static void Remove(string promptFile)
    {
        if (Directory.Exists(FolderOf(promptFile)))
        {
            Directory.Delete(FolderOf(promptFile), recursive: true);
        }
    }

    /// <exception cref="PictureException">None of this name was uploaded.</exception>
    internal static byte[] Open(string promptFile, string name)
    {
        string path = PathOf(promptFile, name);
        return File.Exists(path) ? File.ReadAllBytes(path) : PictureFiles.Nothing(name);
    }

    private static string FolderOf(string promptFile) => promptFile + ".pictures";

    private static string PathOf(string promptFile, string name) =>
        Path.Combine(FolderOf(promptFile), Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(name))));
}
