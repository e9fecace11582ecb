using System.Buffers.Binary;
using System.Text;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Writes the compact binary form of what lies in queues and journals: numbers as 7-bit groups, text as UTF-8 after its length.</summary>
public sealed class WireWriter
{
    private byte[] _buffer = new byte[256];
    private int _length;

    public ReadOnlyMemory<byte> Written => _buffer.AsMemory(0, _length);

    public byte[] ToArray() => _buffer.AsSpan(0, _length).ToArray();

    public void Clear() => _length = 0;

    public void Byte(byte value) => Room(1)[0] = value;

    /// <summary>A number that is mostly small and never negative, in 7-bit groups, lowest first.</summary>
    public void Number(long value)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(value);
        for (; value >= 0x80; value >>= 7)
        {
            Byte((byte)(value | 0x80));
        }

        Byte((byte)value);
    }

    /// <summary>Eight bytes, little-endian.</summary>
    public void Bits(ulong value) => BinaryPrimitives.WriteUInt64LittleEndian(Room(sizeof(ulong)), value);

    /// <summary>Four bytes, little-endian, bit for bit.</summary>
    public void Single(float value) => BinaryPrimitives.WriteSingleLittleEndian(Room(sizeof(float)), value);

    public void Text(string value)
    {
        ArgumentNullException.ThrowIfNull(value);
        int bytes = Encoding.UTF8.GetByteCount(value);
        Number(bytes);
        Encoding.UTF8.GetBytes(value, Room(bytes));
    }

    public void Bytes(ReadOnlySpan<byte> value)
    {
        Number(value.Length);
        value.CopyTo(Room(value.Length));
    }

    /// <summary>Bytes that tell their end by themselves, such as an item's.</summary>
    public void Raw(ReadOnlySpan<byte> value) => value.CopyTo(Room(value.Length));

    public void Key(ConditionKey key) => key.WriteTo(Room(ConditionKey.SizeBytes));

    /// <summary>Hash, width, height.</summary>
    public void Picture(LinePicture picture)
    {
        ArgumentNullException.ThrowIfNull(picture);
        Convert.FromHexString(picture.Sha256, Room(HashBytes), out _, out _);
        Number(picture.WidthPixels);
        Number(picture.HeightPixels);
    }

    internal const int HashBytes = 32;

    private Span<byte> Room(int bytes)
    {
        if (_buffer.Length - _length < bytes)
        {
            Array.Resize(ref _buffer, Math.Max(_buffer.Length * 2, _length + bytes));
        }

        _length += bytes;
        return _buffer.AsSpan(_length - bytes, bytes);
    }
}

/// <summary>Reads what <see cref="WireWriter"/> wrote. Every method throws <see cref="WireFormatException"/> where the bytes end too early or make no sense.</summary>
/// <param name="bytes">The bytes.</param>
/// <param name="what">What they should be, for error messages.</param>
public ref struct WireReader(ReadOnlySpan<byte> bytes, string what)
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    private ReadOnlySpan<byte> _rest = bytes;
    private readonly string _what = what;

    public readonly bool IsAtEnd => _rest.IsEmpty;

    /// <summary>Reads the version and refuses any but the one that is known.</summary>
    public void Version(byte known)
    {
        byte version = Byte();
        if (version != known)
        {
            throw new WireFormatException($"{_what} has version {version}, but version {known} is known here");
        }
    }

    public byte Byte() => Take(1)[0];

    public long Number()
    {
        ulong value = 0;
        for (int shift = 0; shift < 63; shift += 7)
        {
            byte group = Byte();
            value |= (ulong)(group & 0x7f) << shift;
            if (group < 0x80)
            {
                return (long)value;
            }
        }

        throw Wrong("a number is too long");
    }

    public int Int32()
    {
        long value = Number();
        return value <= int.MaxValue ? (int)value : throw Wrong($"the number {value} is too large");
    }

    public ulong Bits() => BinaryPrimitives.ReadUInt64LittleEndian(Take(sizeof(ulong)));

    public float Single() => BinaryPrimitives.ReadSingleLittleEndian(Take(sizeof(float)));

    public string Text()
    {
        try
        {
            return Strict.GetString(Bytes());
        }
        catch (DecoderFallbackException exception)
        {
            throw new WireFormatException($"{_what}: a text is not UTF-8", exception);
        }
    }

    public ReadOnlySpan<byte> Bytes() => Take(Int32());

    public ConditionKey Key() => ConditionKey.FromBytes(Take(ConditionKey.SizeBytes));

    public LinePicture Picture() => new(Convert.ToHexStringLower(Take(WireWriter.HashBytes)), Int32(), Int32());

    /// <summary>Nothing may follow.</summary>
    public readonly void End()
    {
        if (!_rest.IsEmpty)
        {
            throw Wrong($"{_rest.Length} bytes too many");
        }
    }

    public readonly WireFormatException Wrong(string problem) => new($"{_what}: {problem}");

    private ReadOnlySpan<byte> Take(int count)
    {
        if (count > _rest.Length)
        {
            throw Wrong($"{count} bytes expected, {_rest.Length} left");
        }

        ReadOnlySpan<byte> taken = _rest[..count];
        _rest = _rest[count..];
        return taken;
    }
}

/// <summary>Bytes of a queue or journal that are not what they should be, or a newer version's.</summary>
public sealed class WireFormatException(string message, Exception? inner = null) : FarmException(message, inner)
{
    public override int ExitCode => ExitCodes.Storage;
}
