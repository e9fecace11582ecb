using MetaQuery.Farm;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>What a silo's slots are made with.</summary>
/// <param name="Model">Loaded with the halves that the roles need; null where the silo has no slots.</param>
public sealed record SlotSettings(IFarmModel? Model, WorkRoles Roles, string Device, string DataFolder, long CacheMemoryBytes)
{
    /// <summary>Of the slots' workers.</summary>
    public ILogger Log { get; init; } = NullLogger.Instance;
}

/// <summary>A silo's device slots: each is a worker host of one slot, on a thread of its own, over weights and a condition cache that all share. Thread-safe.</summary>
internal sealed class SlotFleet : IAsyncDisposable
{
    public const int MostSlots = 1024;

    private readonly SlotSettings _settings;
    private readonly IFarmBackbone _backbone;
    private readonly SiloAddress _silo;
    private readonly Lock _gate = new();
    private readonly SortedDictionary<int, DeviceSlot> _slots = [];
    private readonly HashSet<int> _again = []; // slots that are wanted again once they have drained
    private readonly SharedProcess _process = new();
    private readonly ConditionCache? _cache;
    private readonly TaskCompletionSource<Exception> _broken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _isShut;

    public SlotFleet(SlotSettings settings, IFarmBackbone backbone, ILocalSiloDetails silo)
    {
        (_settings, _backbone, _silo) = (settings, backbone, silo.SiloAddress);
        _cache = settings.Model is null ? null : backbone.CreateCache(settings.CacheMemoryBytes);
    }

    public WorkRoles Roles => _settings.Model is null ? WorkRoles.None : _settings.Roles;

    /// <summary>Completes with a slot's error that it cannot go on from: the process should end by it.</summary>
    public Task<Exception> Broken => _broken.Task;

    public bool Owns(SlotKey slot, WorkRoles role) => slot.Silo.Equals(_silo) && slot.Index is >= 0 and < MostSlots && Roles.HasFlag(role);

    /// <exception cref="JobSpecException">The silo has no role that needs slots, or the number is out of range.</exception>
    public void CheckCount(int count)
    {
        if (Roles == WorkRoles.None)
        {
            throw new JobSpecException($"silo {_silo.ToParsableString()} has neither the role mllm nor dit, so that it has no slots") { Field = "slots" };
        }

        if (count is < 0 or > MostSlots)
        {
            throw new JobSpecException($"{count} slots; 0 to {MostSlots} are possible") { Field = "slots" };
        }
    }

    /// <summary>Lets a slot work, where it does not already; one that drained begins anew, and one that drains does so as soon as it has.</summary>
    public SiloSlotView Start(int index)
    {
        lock (_gate)
        {
            if (!_slots.TryGetValue(index, out DeviceSlot? slot) || slot.HasEnded)
            {
                Begin(index);
            }
            else if (slot.IsDraining)
            {
                _again.Add(index);
            }
        }

        return Describe(index);
    }

    /// <summary>Lets a slot finish what it has begun; returns at once.</summary>
    public SiloSlotView Drain(int index)
    {
        DeviceSlot? slot;
        lock (_gate)
        {
            _again.Remove(index);
            _slots.TryGetValue(index, out slot);
        }

        slot?.Drain();
        return Describe(index);
    }

    public SiloSlotView Describe(int index)
    {
        lock (_gate)
        {
            return _slots.TryGetValue(index, out DeviceSlot? slot) ? slot.Describe(index) : new SiloSlotView(index, "drained", null, "idle", 0, 0, 0, 0, 0);
        }
    }

    /// <summary>Slots that work or did.</summary>
    public IReadOnlyList<SiloSlotView> List()
    {
        lock (_gate)
        {
            return [.. _slots.Select(slot => slot.Value.Describe(slot.Key))];
        }
    }

    /// <summary>Starts nothing more, and waits until every slot has finished what it had begun.</summary>
    public async Task DrainAllAsync()
    {
        DeviceSlot[] slots;
        lock (_gate)
        {
            _isShut = true;
            slots = [.. _slots.Values];
        }

        Array.ForEach(slots, slot => slot.Drain());
        await Task.WhenAll(slots.Select(slot => slot.Ended)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // told by Broken
    }

    public async ValueTask DisposeAsync() => await DrainAllAsync();

    private void Begin(int index)
    {
        if (!_isShut)
        {
            _again.Remove(index);
            DeviceSlot slot = _slots[index] = new DeviceSlot(_settings, _backbone, _cache!, _process);
            _ = WatchAsync(index, slot);
        }
    }

    private async Task WatchAsync(int index, DeviceSlot slot)
    {
        try
        {
            await slot.Ended;
            lock (_gate)
            {
                if (_slots[index] == slot && _again.Contains(index))
                {
                    Begin(index);
                }
            }
        }
#pragma warning disable CA1031 // handed to whoever runs the silo
        catch (Exception exception)
#pragma warning restore CA1031
        {
            _broken.TrySetResult(exception);
        }
    }
}
