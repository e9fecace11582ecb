namespace MetaQuery.Orleans.Tests;

/// <summary>What was written by the first version and must be read for good. A field that is added comes after the others, and changes only its own contract's line.</summary>
internal static class FrozenBytes
{
    public static readonly string[] Calls =
    [
        "IAdminGrain.Drain", "IAdminGrain.Ping", "IAdminGrain.Scale", "IAdminGrain.Silos",
        "IHeadGrain.Count", "IHeadGrain.Ensure", "IHeadGrain.List", "IHeadGrain.Rules", "IHeadGrain.Submit", "IHeadGrain.Usage",
        "IJobGrain.Adopt", "IJobGrain.Apply", "IJobGrain.Failures", "IJobGrain.Files", "IJobGrain.Forget", "IJobGrain.Get", "IJobGrain.Sample", "IJobGrain.Samples",
        "IJobGrain.Ticket", "IJobGrain.Watch",
        "ISiloGrain.Drain", "ISiloGrain.Report", "ISiloGrain.Scale",
        "ISlotGrain.Drain", "ISlotGrain.Start", "ISlotGrain.Status",
        "ITenantGrain.GetRules", "ITenantGrain.SetRules", "ITenantGrain.Submit", "ITenantGrain.Usage",
    ];

    public static readonly Dictionary<string, string> Of = new(StringComparer.Ordinal)
    {
    };
}
