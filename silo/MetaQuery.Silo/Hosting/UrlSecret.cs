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
        if (File.Exists(path) && File.ReadAllBytes(path) is { Length: Bytes } known)
        {
            return known;
        }

        byte[] made = RandomNumberGenerator.GetBytes(Bytes);
        PrivateFile.Write(path, made);
        return made;
    }
}
