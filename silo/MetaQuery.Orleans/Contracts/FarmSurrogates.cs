using MetaQuery.Farm;

namespace MetaQuery.Orleans;

[GenerateSerializer]
[Alias("mq.TenantUsage")]
public struct TenantUsageSurrogate
{
    [Id(0)] public string Tenant;
    [Id(1)] public long QueuedImages;
    [Id(2)] public long ImagesToday;
}

[RegisterConverter]
public sealed class TenantUsageConverter : IConverter<TenantUsage, TenantUsageSurrogate>
{
    public TenantUsage ConvertFromSurrogate(in TenantUsageSurrogate surrogate) => new(surrogate.Tenant, surrogate.QueuedImages, surrogate.ImagesToday);

    public TenantUsageSurrogate ConvertToSurrogate(in TenantUsage value) => new() { Tenant = value.Tenant, QueuedImages = value.QueuedImages, ImagesToday = value.ImagesToday };
}

[GenerateSerializer]
[Alias("mq.TenantRules")]
public struct TenantRulesSurrogate
{
    [Id(0)] public double Weight;
    [Id(1)] public long? MaxQueuedImages;
    [Id(2)] public long? ImagesPerDay;
}

[RegisterConverter]
public sealed class TenantRulesConverter : IConverter<TenantRules, TenantRulesSurrogate>
{
    public TenantRules ConvertFromSurrogate(in TenantRulesSurrogate surrogate) => new(surrogate.Weight, surrogate.MaxQueuedImages, surrogate.ImagesPerDay);

    public TenantRulesSurrogate ConvertToSurrogate(in TenantRules value) =>
        new() { Weight = value.Weight, MaxQueuedImages = value.MaxQueuedImages, ImagesPerDay = value.ImagesPerDay };
}

[GenerateSerializer]
[Alias("mq.FarmCounters")]
public struct FarmCountersSurrogate
{
    /// <summary>Memory hits, disk hits, misses, shared flights, evictions, corrupt entries, memory bytes, disk bytes, Redis hits, Redis bytes, made again.</summary>
    [Id(0)] public long[] Cache;
    [Id(1)] public Dictionary<JobState, int> JobsByState;
    [Id(2)] public long QueuedImages;

    /// <summary>Waiting to encode, waiting to denoise, leased, unconfirmed reports.</summary>
    [Id(3)] public Dictionary<string, long[]> Lanes;
    [Id(4)] public long ImagesWritten;
    [Id(5)] public long ImagesFailed;
    [Id(6)] public long Passes;
    [Id(7)] public long PassesAgain;
    [Id(8)] public long RefusedReports;
    [Id(9)] public long ReclaimedItems;
    [Id(10)] public TimeSpan FeedLag;
}

[RegisterConverter]
public sealed class FarmCountersConverter : IConverter<FarmCounters, FarmCountersSurrogate>
{
    public FarmCounters ConvertFromSurrogate(in FarmCountersSurrogate surrogate)
    {
        long[] cache = surrogate.Cache;
        return new FarmCounters(
            new ConditionCacheCounters(cache[0], cache[1], cache[2], cache[3], cache[4], cache[5], cache[6], cache[7])
            {
                RedisHits = cache[8],
                RedisBytes = cache[9],
                MadeAgain = cache[10],
            },
            surrogate.JobsByState, surrogate.QueuedImages,
            surrogate.Lanes.ToDictionary(lane => lane.Key, lane => new LaneDepth(lane.Value[0], lane.Value[1], lane.Value[2], lane.Value[3]), StringComparer.Ordinal),
            surrogate.ImagesWritten, surrogate.ImagesFailed, surrogate.Passes, surrogate.PassesAgain, surrogate.RefusedReports, surrogate.ReclaimedItems, surrogate.FeedLag);
    }

    public FarmCountersSurrogate ConvertToSurrogate(in FarmCounters value)
    {
        ConditionCacheCounters cache = value.Cache;
        return new FarmCountersSurrogate
        {
            Cache =
            [
                cache.MemoryHits, cache.DiskHits, cache.Misses, cache.SharedFlights, cache.Evictions, cache.CorruptEntries, cache.MemoryBytes, cache.DiskBytes,
                cache.RedisHits, cache.RedisBytes, cache.MadeAgain,
            ],
            JobsByState = value.JobsByState.ToDictionary(),
            QueuedImages = value.QueuedImages,
            Lanes = value.Lanes.ToDictionary(
                lane => lane.Key, lane => (long[])[lane.Value.WaitingEncode, lane.Value.WaitingDenoise, lane.Value.Leased, lane.Value.UnconfirmedReports], StringComparer.Ordinal),
            ImagesWritten = value.ImagesWritten,
            ImagesFailed = value.ImagesFailed,
            Passes = value.Passes,
            PassesAgain = value.PassesAgain,
            RefusedReports = value.RefusedReports,
            ReclaimedItems = value.ReclaimedItems,
            FeedLag = value.FeedLag,
        };
    }
}

[GenerateSerializer]
[Alias("mq.SiloView")]
public struct SiloViewSurrogate
{
    [Id(0)] public string Id;
    [Id(1)] public string Host;
    [Id(2)] public int ProcessId;
    [Id(3)] public string State;
    [Id(4)] public string[] Roles;
    [Id(5)] public bool IsHead;
    [Id(6)] public SiloSlotView[] Slots;
    [Id(7)] public Dictionary<string, int> Activations;
    [Id(8)] public double CpuShare;
    [Id(9)] public long MemoryBytes;
    [Id(10)] public DateTimeOffset? StartedAt;
    [Id(11)] public string[] Urls;
}

[RegisterConverter]
public sealed class SiloViewConverter : IConverter<SiloView, SiloViewSurrogate>
{
    public SiloView ConvertFromSurrogate(in SiloViewSurrogate surrogate) => new(
        surrogate.Id, surrogate.Host, surrogate.ProcessId, surrogate.State, surrogate.Roles, surrogate.IsHead, surrogate.Slots, surrogate.Activations,
        surrogate.CpuShare, surrogate.MemoryBytes, surrogate.StartedAt, surrogate.Urls);

    public SiloViewSurrogate ConvertToSurrogate(in SiloView value) => new()
    {
        Id = value.Id,
        Host = value.Host,
        ProcessId = value.ProcessId,
        State = value.State,
        Roles = [.. value.Roles],
        IsHead = value.IsHead,
        Slots = [.. value.Slots],
        Activations = value.Activations.ToDictionary(StringComparer.Ordinal),
        CpuShare = value.CpuShare,
        MemoryBytes = value.MemoryBytes,
        StartedAt = value.StartedAt,
        Urls = [.. value.Urls],
    };
}

[GenerateSerializer]
[Alias("mq.SiloSlotView")]
public struct SiloSlotViewSurrogate
{
    [Id(0)] public int Index;
    [Id(1)] public string State;
    [Id(2)] public string? Worker;
    [Id(3)] public string Activity;
    [Id(4)] public int Rows;
    [Id(5)] public double BusyShare;
    [Id(6)] public double ImagesPerSecond;
    [Id(7)] public long ImagesMade;
    [Id(8)] public long ConditionsMade;
}

[RegisterConverter]
public sealed class SiloSlotViewConverter : IConverter<SiloSlotView, SiloSlotViewSurrogate>
{
    public SiloSlotView ConvertFromSurrogate(in SiloSlotViewSurrogate surrogate) => new(
        surrogate.Index, surrogate.State, surrogate.Worker, surrogate.Activity, surrogate.Rows, surrogate.BusyShare, surrogate.ImagesPerSecond, surrogate.ImagesMade,
        surrogate.ConditionsMade);

    public SiloSlotViewSurrogate ConvertToSurrogate(in SiloSlotView value) => new()
    {
        Index = value.Index,
        State = value.State,
        Worker = value.Worker,
        Activity = value.Activity,
        Rows = value.Rows,
        BusyShare = value.BusyShare,
        ImagesPerSecond = value.ImagesPerSecond,
        ImagesMade = value.ImagesMade,
        ConditionsMade = value.ConditionsMade,
    };
}
