using System.Buffers.Binary;

namespace MetaQuery.Imaging;

/// <summary>Bits into bytes, lowest first, as deflate orders them.</summary>
internal sealed class BitWriter
{
    private byte[] _bytes = new byte[1 << 16];
    private int _count;
    private ulong _bits;
    private int _bitCount;

    /// <summary>Whole bytes written; valid until the next write.</summary>
    public ReadOnlySpan<byte> Written => _bytes.AsSpan(0, _count);

    public void Reset() => (_count, _bits, _bitCount) = (0, 0, 0);

    /// <param name="value">Its lowest <paramref name="count"/> bits, none set above them.</param>
    /// <param name="count">0 to 32.</param>
    public void Write(uint value, int count)
    {
        _bits |= (ulong)value << _bitCount;
        _bitCount += count;
        if (_bitCount >= 32)
        {
            Reserve(4);
            BinaryPrimitives.WriteUInt32LittleEndian(_bytes.AsSpan(_count), (uint)_bits);
            _count += 4;
            _bits >>= 32;
            _bitCount -= 32;
        }
    }

    /// <summary>Fills the byte begun with zeros.</summary>
    public void AlignToByte()
    {
        while (_bitCount > 0)
        {
            Reserve(1);
            _bytes[_count++] = (byte)_bits;
            _bits >>= 8;
            _bitCount -= 8;
        }

        (_bits, _bitCount) = (0, 0);
    }

    /// <summary>The writer must stand at a byte's begin.</summary>
    public void WriteBytes(ReadOnlySpan<byte> bytes)
    {
        Reserve(bytes.Length);
        bytes.CopyTo(_bytes.AsSpan(_count));
        _count += bytes.Length;
    }

    private void Reserve(int count)
    {
        if (_bytes.Length - _count < count)
        {
            Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, _count + count));
        }
    }
}
