namespace MetaQuery.Farm;

/// <summary>An item's faults so far. A later record of the same item replaces it.</summary>
/// <param name="ItemId"><see cref="WorkItem.Id"/>.</param>
/// <param name="Errors">Reported by live workers, for this very item.</param>
/// <param name="Deaths">Of its holders, while it ran beside others.</param>
/// <param name="DeathsAlone">Of its holders, while it ran alone.</param>
/// <param name="IsSingly">It takes a batch of its own from now on.</param>
/// <param name="IsQuarantined">It is given up.</param>
/// <param name="Reason">The last fault, one line.</param>
public sealed record FaultRecord(string ItemId, int Errors, int Deaths, int DeathsAlone, bool IsSingly, bool IsQuarantined, string Reason)
{
    private const byte Version = 1;

    /// <summary>No fault is known.</summary>
    public bool IsEmpty => Errors == 0 && Deaths == 0 && DeathsAlone == 0 && !IsSingly && !IsQuarantined;

    public static FaultRecord None(string itemId) => new(itemId, 0, 0, 0, IsSingly: false, IsQuarantined: false, "");

    /// <summary>The journal's form, version 1: version (1 byte), flags (1 byte: 1 single, 2 quarantined), item id, the three counts, reason. Frozen by a test.</summary>
    public byte[] ToBytes()
    {
        var writer = new WireWriter();
        writer.Byte(Version);
        writer.Byte((byte)((IsSingly ? 1 : 0) | (IsQuarantined ? 2 : 0)));
        writer.Text(ItemId);
        writer.Number(Errors);
        writer.Number(Deaths);
        writer.Number(DeathsAlone);
        writer.Text(Reason);
        return writer.ToArray();
    }

    /// <summary>Reads <see cref="ToBytes"/>'s form.</summary>
    /// <exception cref="WireFormatException">It is something else, or a newer version's.</exception>
    public static FaultRecord Parse(ReadOnlySpan<byte> bytes)
    {
        var reader = new WireReader(bytes, "a fault record");
        reader.Version(Version);
        byte flags = reader.Byte();
        var record = new FaultRecord(
            reader.Text(), reader.Int32(), reader.Int32(), reader.Int32(), IsSingly: (flags & 1) != 0, IsQuarantined: (flags & 2) != 0, reader.Text());
        reader.End();
        return record;
    }
}
