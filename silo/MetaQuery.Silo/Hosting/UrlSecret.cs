using System.Security.Cryptography;
using MetaQuery.Silo.Web;

namespace MetaQuery.Silo.Hosting;

/// <summary>What signs addresses of pictures: made once per data folder, so that addresses outlive a restart.</summary>
internal static class UrlSecret
{
    private const int Bytes = 32;

    public static byte[] Of(string dataFolder)
    {
        string path = Path.Combine(dataFolder, "url.secret");
        if (Read(path) is { } known)
        {
            return known;
        }

        using FileStream held = Hold(path + ".lock"); // silos that start at once must have one secret between them
        if (Read(path) is { } others)
        {
            return others;
        }

        byte[] made = RandomNumberGenerator.GetBytes(Bytes);
        PrivateFile.Write(path, made);
        return made;
    }

    private static byte[]? Read(string path) => File.Exists(path) && File.ReadAllBytes(path) is { Length: Bytes } known ? known : null;

    private static FileStream Hold(string path)
    {
        while (true)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None, bufferSize: 1, FileOptions.DeleteOnClose);
            }
            catch (IOException exception) when (exception.HResult is 11 or 35)
            {
                Thread.Sleep(10); // another process holds it, for as long as it takes to write 32 bytes
            }
        }
    }
}
