using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace MetaQuery.Data;

/// <summary>
/// The ids of a prompt file with the line each stands on, in 16 bytes a slot: a 96-bit hash of the id and the line.
/// Two of a million ids fall together by chance once in 10^17 files.
/// </summary>
/// <remarks>The slots lie outside the garbage collector's heap: a table that grows would leave its old ones there for a while.</remarks>
internal sealed unsafe class PromptIdTable : IDisposable
{
    private readonly ulong[] _secrets = new ulong[4]; // of this table alone: no file can be written to make ids collide
    private Slot* _slots;
    private nuint _capacity; // a power of two
    private nuint _count;

    public PromptIdTable() => RandomNumberGenerator.Fill(MemoryMarshal.AsBytes(_secrets.AsSpan()));

    public void Dispose()
    {
        NativeMemory.Free(_slots);
        _slots = null;
        _capacity = _count = 0;
    }

    /// <returns>False if the id is there; <paramref name="earlierLine"/> is then its line.</returns>
    public bool TryAdd(string id, long line, out long earlierLine)
    {
        if (_count >= _capacity - (_capacity / 4))
        {
            Grow();
        }

        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(id.AsSpan());
        var slot = new Slot(
            Hash(bytes, _secrets[0], _secrets[1]),
            (uint)Hash(bytes, _secrets[2], _secrets[3]),
            (uint)Math.Min(line, uint.MaxValue));
        Slot* there = Find(slot);
        earlierLine = there->Line;
        if (earlierLine != 0)
        {
            return false;
        }

        *there = slot;
        _count++;
        return true;
    }

    /// <summary>Folded 64 × 64-bit products, eight bytes a step (the scheme of wyhash).</summary>
    private static ulong Hash(ReadOnlySpan<byte> bytes, ulong state, ulong secret)
    {
        state ^= (ulong)bytes.Length * 0x9E3779B97F4A7C15;
        while (bytes.Length >= sizeof(ulong))
        {
            state = Fold(state ^ Unsafe.ReadUnaligned<ulong>(ref MemoryMarshal.GetReference(bytes)), secret | 1);
            bytes = bytes[sizeof(ulong)..];
        }

        ulong tail = 0;
        foreach (byte value in bytes)
        {
            tail = (tail << 8) | value;
        }

        return Fold(Fold(state ^ tail, secret | 1) ^ secret, 0xE7037ED1A0B428DB);
    }

    private static ulong Fold(ulong a, ulong b)
    {
        ulong high = Math.BigMul(a, b, out ulong low);
        return high ^ low;
    }

    /// <summary>The slot of an id, or the free one where it belongs.</summary>
    private Slot* Find(Slot slot)
    {
        for (nuint at = (nuint)slot.High; ; at++)
        {
            Slot* there = _slots + (at & (_capacity - 1));
            if (there->Line == 0 || (there->High == slot.High && there->Low == slot.Low))
            {
                return there;
            }
        }
    }

    private void Grow()
    {
        Slot* old = _slots;
        nuint oldCapacity = _capacity;
        _capacity = Math.Max(1024, oldCapacity * 2);
        _slots = (Slot*)NativeMemory.AllocZeroed(_capacity, (nuint)sizeof(Slot));
        for (nuint i = 0; i < oldCapacity; i++)
        {
            if (old[i].Line != 0)
            {
                *Find(old[i]) = old[i];
            }
        }

        NativeMemory.Free(old);
    }

    /// <summary>Line 0 marks a free slot: lines count from 1.</summary>
    private readonly record struct Slot(ulong High, uint Low, uint Line);
}
