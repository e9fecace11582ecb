using System.Globalization;
using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>Names a device slot: the process that owns it, and its number there. The key of its grains, frozen: <c>127.0.0.1:11111@120000000/0</c>.</summary>
/// <param name="Silo">The owner: one process, since an address holds its start.</param>
/// <param name="Index">From 0.</param>
public readonly record struct SlotKey(SiloAddress Silo, int Index)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Silo.ToParsableString()}/{Index}");

    /// <summary>Reads a slot's key, or a silo's own, which has no number.</summary>
    /// <returns>False where it is neither.</returns>
    public static bool TryParse(string key, out SlotKey slot)
    {
        slot = default;
        if (key is null)
        {
            return false;
        }

        int cut = key.IndexOf('/', StringComparison.Ordinal);
        int index = 0;
        if (cut >= 0 && !int.TryParse(key.AsSpan(cut + 1), NumberStyles.None, CultureInfo.InvariantCulture, out index))
        {
            return false;
        }

        try
        {
            slot = new SlotKey(SiloAddress.FromParsableString(cut < 0 ? key : key[..cut]), index);
            return true;
        }
        catch (Exception exception) when (exception is FormatException or ArgumentException or OverflowException or IndexOutOfRangeException)
        {
            return false; // somebody's own text
        }
    }
}

/// <summary>Where a slot's grain belongs: on the silo that owns the slot, or nowhere.</summary>
public static class OwnerRule
{
    /// <returns>The owner; null where it is not among the silos that take activations: its slot is gone with it and is nobody else's to have.</returns>
    public static SiloAddress? Choose(string key, IEnumerable<SiloAddress> active) =>
        SlotKey.TryParse(key, out SlotKey slot) && active.Contains(slot.Silo) ? slot.Silo : null;
}
