using System.Security.Cryptography;
using System.Text;
using MetaQuery.Farm;

namespace MetaQuery.Redis;

/// <summary>What is kept of a call of reports until it is answered, so that its repeat writes no file again and is known to Redis by the same name.</summary>
/// <param name="places">By lease token: where the sample lies; null for other outcomes.</param>
/// <param name="file">The inbox file that was written for it; null for none.</param>
internal sealed class ReportAttempt(IReadOnlyDictionary<string, InboxPlace?> places, string? file)
{
    private readonly byte[] _seed = RandomNumberGenerator.GetBytes(16);

    public string? File => file;

    /// <summary>Whether it went out before and nobody knows what came of it.</summary>
    public bool IsRepeat { get; set; }

    /// <summary>Whether these reports are its own, or what is left of them.</summary>
    public bool Covers(IReadOnlyList<WorkReport> reports) =>
        reports.All(report => places.TryGetValue(report.Lease.Token, out InboxPlace? place) && (report.Outcome is DenoisedOutcome) == place is not null);

    public InboxPlace? PlaceOf(WorkReport report) => places[report.Lease.Token];

    /// <summary>The call's name: the same for the same reports, another where some of them are left out, for the answer has a letter for each.</summary>
    public string NameOf(IEnumerable<WorkReport> reports)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(_seed);
        foreach (WorkReport report in reports)
        {
            hash.AppendData(Encoding.UTF8.GetBytes(report.Lease.Token + "\n"));
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset().AsSpan(0, 12));
    }
}
