using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Web;

/// <summary>Signs addresses of pictures and files, so that a browser's image tag or an OpenAI client can fetch them without a key, for a while.</summary>
internal sealed class UrlSigner(byte[] secret, TimeProvider time)
{
    private static readonly TimeSpan Lifetime = TimeSpan.FromHours(1);

    // coarse, so that one picture keeps its address for some minutes and a browser's cache can serve it
    private static readonly TimeSpan Grain = TimeSpan.FromMinutes(10);

    /// <param name="path">As a request will have it, percent-encoded.</param>
    public string Sign(string path)
    {
        long grain = (long)Grain.TotalSeconds;
        long expires = ((time.GetUtcNow() + Lifetime).ToUnixTimeSeconds() / grain * grain) + grain;
        return string.Create(CultureInfo.InvariantCulture, $"{path}?expires={expires}&signature={Signature(path, expires)}");
    }

    /// <summary>Whether a request bears this server's signature for its very path, and in time.</summary>
    public bool Covers(HttpRequest request)
    {
        if (request.Query["signature"] is not [{ Length: > 0 } signature] || !long.TryParse(request.Query["expires"], NumberStyles.None, CultureInfo.InvariantCulture, out long expires))
        {
            return false;
        }

        byte[] expected = Encoding.ASCII.GetBytes(Signature(request.Path.ToUriComponent(), expires));
        return CryptographicOperations.FixedTimeEquals(expected, Encoding.UTF8.GetBytes(signature)) && expires >= time.GetUtcNow().ToUnixTimeSeconds();
    }

    private string Signature(string path, long expires) =>
        Convert.ToHexStringLower(HMACSHA256.HashData(secret, Encoding.UTF8.GetBytes(string.Create(CultureInfo.InvariantCulture, $"metaquery-url 1\n{path}\n{expires}"))));
}
