using System.Security.Cryptography;
using System.Text;

namespace MetaQuery.Silo.Web;

/// <summary>A key as keys.json holds it: never the key itself.</summary>
/// <param name="Id">For people and for <c>keys revoke</c>.</param>
/// <param name="Tenant">Whose jobs it sees and makes.</param>
/// <param name="Sha256">Of the key's text, lower-case hex. A key is 256 random bits, which no dictionary holds: a slow hash would add nothing.</param>
/// <param name="Admin">Sees every tenant's jobs, drains workers, reads metrics.</param>
/// <param name="Weight">The tenant's share of the slots.</param>
/// <param name="MaxQueuedImages">Null for no limit.</param>
/// <param name="ImagesPerDay">Null for no limit.</param>
/// <param name="RevokedAt">Null while it is good.</param>
public sealed record ApiKey(
    string Id, string Tenant, string Sha256, bool Admin, double Weight, long? MaxQueuedImages, long? ImagesPerDay, DateTimeOffset CreatedAt, DateTimeOffset? RevokedAt)
{
    private const string Prefix = "mq_";

    /// <summary>Makes a new key.</summary>
    /// <returns>What is kept, and the key's text, which is told once.</returns>
    public static (ApiKey Key, string Text) Create(string tenant, bool admin, double weight, long? maxQueuedImages, long? imagesPerDay, DateTimeOffset now)
    {
        string text = Prefix + Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)).TrimEnd('=').Replace('+', '-').Replace('/', '_');
        var key = new ApiKey(
            "key_" + Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4)), tenant, HashText(text), admin, weight, maxQueuedImages, imagesPerDay, now, null);
        return (key, text);
    }

    public static string HashText(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    /// <summary>Whether a tenant may be called so: it stands in logs, metrics and file contents.</summary>
    public static bool IsTenantName(string name) =>
        name.Length is >= 1 and <= 64 && name.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '-' or '_' or '.');
}

/// <summary>A key, a tenant's name or keys.json is wrong: one line.</summary>
public sealed class ApiKeyException(string message, Exception? inner = null) : Farm.FarmException(message, inner)
{
    public override int ExitCode => Farm.ExitCodes.InvalidInput;
}
