using System.Security.Cryptography;

namespace MetaQuery.Farm;

/// <summary>Ids of jobs: they sort by time, and nobody can guess one.</summary>
internal static class JobIds
{
    private const string Digits = "0123456789abcdefghjkmnpqrstvwxyz"; // Crockford's base 32
    private const int TimeDigits = 10;
    private const int RandomDigits = 16;

    /// <summary><c>job_</c>, ten digits of milliseconds since 1970, sixteen random ones.</summary>
    public static string Create(DateTimeOffset now) => string.Create(4 + TimeDigits + RandomDigits, now.ToUnixTimeMilliseconds(), (text, time) =>
    {
        "job_".CopyTo(text);
        for (int i = TimeDigits - 1; i >= 0; i--, time >>= 5)
        {
            text[4 + i] = Digits[(int)(time & 31)];
        }

        Span<byte> random = stackalloc byte[RandomDigits];
        RandomNumberGenerator.Fill(random);
        for (int i = 0; i < RandomDigits; i++)
        {
            text[4 + TimeDigits + i] = Digits[random[i] & 31];
        }
    });
}
