using System.Globalization;
using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>What placement and the admin page know of a silo: its address and what it said of itself when it joined.</summary>
/// <param name="Address">Host, port and generation: never the same twice, so that it names one process.</param>
/// <param name="Roles">What it is for.</param>
/// <param name="Slots">Slots it began with.</param>
/// <param name="ProcessId">On its machine.</param>
/// <param name="Urls">Where its web API listens, separated by blanks; empty without the role <c>head</c>.</param>
public sealed record SiloFacts(SiloAddress Address, SiloRoles Roles, int Slots, int ProcessId, string Urls)
{
    private const string RolesKey = "mq.roles";
    private const string SlotsKey = "mq.slots";
    private const string ProcessKey = "mq.process";
    private const string UrlsKey = "mq.urls";

    /// <summary>The silo's name in the API, on the page and in grain keys: <c>127.0.0.1:11111@120000000</c>.</summary>
    public string Id => Address.ToParsableString();

    /// <summary>As the silo publishes it. Keys are append-only.</summary>
    public static Dictionary<string, string> Publish(SiloRoles roles, int slots, int processId, string urls) => new(StringComparer.Ordinal)
    {
        [RolesKey] = SiloRoleNames.Write(roles),
        [SlotsKey] = slots.ToString(CultureInfo.InvariantCulture),
        [ProcessKey] = processId.ToString(CultureInfo.InvariantCulture),
        [UrlsKey] = urls,
    };

    /// <summary>As another silo reads it. What is not there yet, or not a farm's, has no role.</summary>
    public static SiloFacts Read(SiloAddress address, IReadOnlyDictionary<string, string> published)
    {
        ArgumentNullException.ThrowIfNull(published);
        return new SiloFacts(
            address, SiloRoleNames.Parse(published.GetValueOrDefault(RolesKey, "")) ?? SiloRoles.None, Number(SlotsKey), Number(ProcessKey),
            published.GetValueOrDefault(UrlsKey, ""));

        int Number(string key) => int.TryParse(published.GetValueOrDefault(key), NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : 0;
    }
}
