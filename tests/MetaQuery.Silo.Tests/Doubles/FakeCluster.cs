using System.Collections.Concurrent;
using MetaQuery.Farm;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>A <see cref="FakeFarm"/> that says it runs on three silos.</summary>
public sealed class FakeCluster(TimeSpan timePerImage, ITenantDirectory? tenants = null) : FakeFarm(timePerImage, tenants), IFarmCluster
{
    private readonly Lock _lock = new();
    private readonly ConcurrentDictionary<string, TenantRules?> _rules = new(StringComparer.Ordinal);
    private readonly List<SiloView> _silos =
    [
        Silo("10.0.0.1:11111@120000001", ["head", "mllm", "dit"], isHead: true, slots: 2), Silo("10.0.0.2:11111@120000002", ["head", "mllm", "dit"], isHead: false, slots: 2),
        Silo("10.0.0.3:11111@120000003", ["dit"], isHead: false, slots: 1),
    ];

    public Task<IReadOnlyList<SiloView>> ListSilosAsync(CancellationToken cancellationToken)
    {
        lock (_lock)
        {
            return Task.FromResult<IReadOnlyList<SiloView>>([.. _silos]);
        }
    }

    public Task<bool> DrainSiloAsync(string silo, CancellationToken cancellationToken) => ChangeAsync(silo, known => known with { State = "leaving" });

    public Task<bool> ScaleSiloAsync(string silo, int slots, CancellationToken cancellationToken) => ChangeAsync(silo, known => known with { Slots = Slots(slots) });

    public Task<TenantRules?> GetTenantRulesAsync(string tenant, CancellationToken cancellationToken) => Task.FromResult(_rules.GetValueOrDefault(tenant));

    public Task SetTenantRulesAsync(string tenant, TenantRules? rules, CancellationToken cancellationToken)
    {
        _rules[tenant] = rules;
        return Task.CompletedTask;
    }

    private Task<bool> ChangeAsync(string silo, Func<SiloView, SiloView> change)
    {
        lock (_lock)
        {
            int place = _silos.FindIndex(known => known.Id == silo);
            if (place >= 0)
            {
                _silos[place] = change(_silos[place]);
            }

            return Task.FromResult(place >= 0);
        }
    }

    private static SiloView Silo(string id, string[] roles, bool isHead, int slots) => new(
        id, "host-" + id[7], 100, "active", roles, isHead, Slots(slots),
        new Dictionary<string, int> { ["SiloGrain"] = 1, ["DitGrain"] = slots, ["JobGrain"] = isHead ? 12 : 0 }, 0.25, 512L << 20, DateTimeOffset.UtcNow, ["http://127.0.0.1:8080"]);

    private static SiloSlotView[] Slots(int count) =>
        [.. Enumerable.Range(0, count).Select(i => new SiloSlotView(i, "running", $"worker-{i}", i == 0 ? "denoise" : "idle", 4, 0.75, 12.5, 100, 50))];
}
