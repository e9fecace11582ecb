using System.Diagnostics.Metrics;
using MetaQuery.Farm;

namespace MetaQuery.Silo.Web;

/// <summary>The farm's counters as instruments, for /metrics and for OTLP. Names are stated in docs/api.md: append-only.</summary>
internal sealed class FarmMeters
{
    public const string MeterName = "MetaQuery.Farm";

    private readonly IFarm _farm;
    private readonly Meter _meter;
    private FarmCounters? _counters;
    private IReadOnlyList<WorkerView> _workers = [];

    public FarmMeters(IFarm farm, IMeterFactory factory, EventHubs hubs, ImageEndpoints images)
    {
        _farm = farm;
        _meter = factory.Create(MeterName);
        Count("metaquery.images.written", "{image}", "Images committed to disk.", c => c.ImagesWritten);
        Count("metaquery.images.failed", "{image}", "Images given up.", c => c.ImagesFailed);
        Count("metaquery.conditions.passes", "{pass}", "Conditions made.", c => c.Passes);
        Count("metaquery.conditions.passes_again", "{pass}", "Conditions made again after eviction, corruption or a worker's death.", c => c.PassesAgain);
        Count("metaquery.reports.refused", "{report}", "Late workers' reports that the fence refused.", c => c.RefusedReports);
        Count("metaquery.items.reclaimed", "{item}", "Items taken back from dead workers.", c => c.ReclaimedItems);
        Count("metaquery.cache.evictions", "{entry}", "Conditions dropped from memory.", c => c.Cache.Evictions);
        Count("metaquery.cache.redis_evictions", "{entry}", "Conditions dropped from Redis.", c => c.Cache.RedisEvictions);
        Count("metaquery.cache.disk_evictions", "{entry}", "Conditions dropped from disk.", c => c.Cache.DiskEvictions);
        Count("metaquery.samples.damaged", "{sample}", "Samples whose record on disk was damaged: made again.", c => c.DamagedRecords);
        Count("metaquery.cache.corrupt", "{entry}", "Damaged conditions found and removed.", c => c.Cache.CorruptEntries);
        _meter.CreateObservableCounter("metaquery.cache.lookups", () => Each(c => (IEnumerable<Measurement<long>>)
        [
            new(c.Cache.MemoryHits, Tag("result", "memory")), new(c.Cache.RedisHits, Tag("result", "redis")), new(c.Cache.DiskHits, Tag("result", "disk")),
            new(c.Cache.SharedFlights, Tag("result", "shared")), new(c.Cache.Misses, Tag("result", "miss")),
        ]), "{lookup}", "Lookups of a condition by where it was found.");
        _meter.CreateObservableGauge("metaquery.cache.size", () => Each(c => (IEnumerable<Measurement<long>>)
            [new(c.Cache.MemoryBytes, Tag("tier", "memory")), new(c.Cache.RedisBytes, Tag("tier", "redis")), new(c.Cache.DiskBytes, Tag("tier", "disk"))]), "By", "Bytes of conditions held.");
        _meter.CreateObservableGauge("metaquery.jobs", () => Each(c => Enum.GetValues<JobState>().Select(state =>
            new Measurement<long>(c.JobsByState.GetValueOrDefault(state), Tag("state", JobLifecycle.NameOf(state))))), "{job}", "Jobs by state.");
        _meter.CreateObservableGauge("metaquery.images.queued", () => Each(c => (IEnumerable<Measurement<long>>)[new(c.QueuedImages)]), "{image}", "Images not settled.");
        _meter.CreateObservableGauge("metaquery.queue.items", () => Each(c => c.Lanes.SelectMany(lane => (IEnumerable<Measurement<long>>)
        [
            new(lane.Value.WaitingEncode, Tag("lane", lane.Key), Tag("state", "waiting_encode")),
            new(lane.Value.WaitingDenoise, Tag("lane", lane.Key), Tag("state", "waiting_denoise")),
            new(lane.Value.Leased, Tag("lane", lane.Key), Tag("state", "leased")),
            new(lane.Value.UnconfirmedReports, Tag("lane", lane.Key), Tag("state", "unconfirmed")),
        ])), "{item}", "Items in the queue by lane.");
        _meter.CreateObservableGauge("metaquery.queue.lag", () => Each(c => (IEnumerable<Measurement<double>>)[new(c.FeedLag.TotalSeconds)]), "s", "Age of the oldest waiting item: what an autoscaler goes by.");
        _meter.CreateObservableGauge("metaquery.workers", () => Enum.GetValues<WorkerState>().Select(state =>
            new Measurement<long>(Volatile.Read(ref _workers).Count(worker => worker.Status.State == state), Tag("state", Wire.Snake(state.ToString())))), "{worker}", "Workers by state.");
        _meter.CreateObservableGauge("metaquery.workers.slots", () => (long)Volatile.Read(ref _workers).Sum(worker => worker.Info.Slots), "{slot}", "Slots of all workers.");
        _meter.CreateObservableGauge("metaquery.workers.busy", () => Volatile.Read(ref _workers).Sum(worker => worker.Info.Slots * worker.Status.BusyShare), "{slot}", "Slots computing, on average over the last half minute.");
        _meter.CreateObservableGauge("metaquery.images.rate", () => Volatile.Read(ref _workers).Sum(worker => worker.Status.ImagesPerSecond), "{image}/s", "Images made a second, over the last half minute.");
        _meter.CreateObservableGauge("metaquery.ready", () => farm.Readiness.IsReady ? 1L : 0L, null, "1 where jobs are taken and worked on.");
        _meter.CreateObservableGauge("metaquery.web.event_streams", () => (long)hubs.Places.Taken, "{stream}", "Event streams open.");
        _meter.CreateObservableGauge("metaquery.web.waiting_requests", () => (long)images.Waiting, "{request}", "Requests for pictures that wait.");
    }

    /// <summary>Asks the farm; instruments show what it said last.</summary>
    public async Task RefreshAsync(CancellationToken cancellationToken)
    {
        Volatile.Write(ref _counters, await _farm.CountAsync(cancellationToken));
        Volatile.Write(ref _workers, await _farm.ListWorkersAsync(cancellationToken));
    }

    private void Count(string name, string unit, string description, Func<FarmCounters, long> value) =>
        _meter.CreateObservableCounter(name, () => Each(c => (IEnumerable<Measurement<long>>)[new(value(c))]), unit, description);

    private IEnumerable<Measurement<T>> Each<T>(Func<FarmCounters, IEnumerable<Measurement<T>>> values)
        where T : struct => Volatile.Read(ref _counters) is { } counters ? values(counters) : [];

    private static KeyValuePair<string, object?> Tag(string name, string value) => new(name, value);
}
