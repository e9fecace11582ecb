using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace MetaQuery.Data;

/// <summary>
/// The ids of a prompt file with the line each stands on, in 16 bytes a slot: 96 bits of the id's SHA-256 and the line.
/// Two ids of a million fall together by chance once in 10^17 files.
/// </summary>
internal sealed class PromptIdTable
{
    private Slot[] _slots = [];
    private int _count;

    /// <returns>False if the id is there; <paramref name="earlierLine"/> is then its line.</returns>
    public bool TryAdd(string id, long line, out long earlierLine)
    {
        if (_count >= _slots.Length - (_slots.Length / 4))
        {
            Grow();
        }

        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        Hash(id, digest);
        var slot = new Slot(BinaryPrimitives.ReadUInt64LittleEndian(digest), BinaryPrimitives.ReadUInt32LittleEndian(digest[8..]), (uint)Math.Min(line, uint.MaxValue));
        for (ulong at = slot.High; ; at++)
        {
            ref Slot there = ref _slots[(int)(at & (ulong)(_slots.Length - 1))];
            if (there.Line == 0)
            {
                there = slot;
                _count++;
                earlierLine = 0;
                return true;
            }

            if (there.High == slot.High && there.Low == slot.Low)
            {
                earlierLine = there.Line;
                return false;
            }
        }
    }

    private static void Hash(string id, Span<byte> digest)
    {
        int most = Encoding.UTF8.GetMaxByteCount(id.Length);
        Span<byte> utf8 = most <= 1024 ? stackalloc byte[1024] : new byte[most];
        SHA256.HashData(utf8[..Encoding.UTF8.GetBytes(id, utf8)], digest);
    }

    private void Grow()
    {
        Slot[] old = _slots;
        _slots = new Slot[Math.Max(1024, old.Length * 2)];
        foreach (Slot slot in old)
        {
            if (slot.Line != 0)
            {
                ulong at = slot.High;
                while (_slots[(int)(at & (ulong)(_slots.Length - 1))].Line != 0)
                {
                    at++;
                }

                _slots[(int)(at & (ulong)(_slots.Length - 1))] = slot;
            }
        }
    }

    /// <summary>Line 0 marks a free slot: lines count from 1.</summary>
    private readonly record struct Slot(ulong High, uint Low, uint Line);
}
