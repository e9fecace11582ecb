using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace MetaQuery.Models.Checkpoints;

/// <summary>The types of GGUF metadata, with the numbers that the format gives them (ggml <c>docs/gguf.md</c>).</summary>
public enum GgufValueType
{
    UInt8 = 0, Int8 = 1, UInt16 = 2, Int16 = 3, UInt32 = 4, Int32 = 5, Float32 = 6, Bool = 7, String = 8, Array = 9, UInt64 = 10, Int64 = 11, Float64 = 12,
}

/// <summary>A value of a GGUF file's metadata. It stays in the header's bytes until it is asked for: a vocabulary of a million
/// strings costs nothing until someone wants it.</summary>
public sealed class GgufValue
{
    readonly string path;
    readonly string key;
    readonly GgufCursor header;
    readonly int begin;

    internal GgufValue(string path, string key, GgufCursor header, GgufValueType type, int begin, GgufValueType elementType, int count)
    {
        this.path = path;
        this.key = key;
        this.header = header;
        this.begin = begin;
        Type = type;
        ElementType = elementType;
        Count = count;
    }

    public GgufValueType Type { get; }

    /// <summary>For an array the type of its elements, else the value's own type.</summary>
    public GgufValueType ElementType { get; }

    /// <summary>For an array the number of its elements, else 1.</summary>
    public int Count { get; }

    /// <exception cref="CheckpointException">It is no string.</exception>
    public string AsString() => Type == GgufValueType.String ? StringAt(begin, out _) : throw Mismatch("a string");

    /// <exception cref="CheckpointException">It is no boolean.</exception>
    public bool AsBool() => Type == GgufValueType.Bool ? header.Bytes[begin] != 0 : throw Mismatch("a boolean");

    /// <summary>The value of any integer type.</summary>
    /// <exception cref="CheckpointException">It is no integer, or is beyond 63 bits.</exception>
    public long AsInt64() => IsInteger(Type) ? IntegerAt(begin, Type) : throw Mismatch("an integer");

    /// <summary>The value of any number type.</summary>
    /// <exception cref="CheckpointException">It is no number.</exception>
    public double AsDouble() => IsNumber(Type) ? NumberAt(begin, Type) : throw Mismatch("a number");

    /// <exception cref="CheckpointException">It is no array of strings.</exception>
    public string[] AsStrings()
    {
        RequireArray(ElementType == GgufValueType.String, "an array of strings");
        var strings = new string[Count];
        for (int i = 0, at = begin; i < Count; i++)
            strings[i] = StringAt(at, out at);
        return strings;
    }

    /// <summary>The elements of an array of any integer type.</summary>
    /// <exception cref="CheckpointException">It is no array of integers.</exception>
    public long[] AsInt64s()
    {
        RequireArray(IsInteger(ElementType), "an array of integers");
        int size = SizeOf(ElementType);
        var numbers = new long[Count];
        for (int i = 0; i < Count; i++)
            numbers[i] = IntegerAt(begin + (i * size), ElementType);
        return numbers;
    }

    /// <summary>The elements of an array of any number type.</summary>
    /// <exception cref="CheckpointException">It is no array of numbers.</exception>
    public double[] AsDoubles()
    {
        RequireArray(IsNumber(ElementType), "an array of numbers");
        int size = SizeOf(ElementType);
        var numbers = new double[Count];
        for (int i = 0; i < Count; i++)
            numbers[i] = NumberAt(begin + (i * size), ElementType);
        return numbers;
    }

    /// <summary>The elements of an array of any type, arrays of arrays too.</summary>
    /// <exception cref="CheckpointException">It is no array.</exception>
    public IReadOnlyList<GgufValue> AsArray()
    {
        RequireArray(isOne: true, "an array");
        var elements = new GgufValue[Count];
        for (int i = 0, at = begin; i < Count; i++)
        {
            if (ElementType == GgufValueType.Array)
            {
                var (type, count, first) = ArrayAt(at);
                elements[i] = new GgufValue(path, key, header, GgufValueType.Array, first, type, count);
            }
            else
            {
                elements[i] = new GgufValue(path, key, header, ElementType, at, ElementType, 1);
            }
            at = Next(at, ElementType);
        }
        return elements;
    }

    public override string ToString() => Type switch
    {
        GgufValueType.String => AsString(),
        GgufValueType.Bool => AsBool() ? "true" : "false",
        GgufValueType.Array => $"{ElementType}[{Count}]",
        GgufValueType.UInt64 => BinaryPrimitives.ReadUInt64LittleEndian(header.Bytes.AsSpan(begin)).ToString(CultureInfo.InvariantCulture),
        _ => IsInteger(Type) ? AsInt64().ToString(CultureInfo.InvariantCulture) : AsDouble().ToString(CultureInfo.InvariantCulture),
    };

    /// <summary>Bytes of one value of a type of fixed size.</summary>
    internal static int SizeOf(GgufValueType type) => type switch
    {
        GgufValueType.UInt8 or GgufValueType.Int8 or GgufValueType.Bool => 1,
        GgufValueType.UInt16 or GgufValueType.Int16 => 2,
        GgufValueType.UInt32 or GgufValueType.Int32 or GgufValueType.Float32 => 4,
        GgufValueType.UInt64 or GgufValueType.Int64 or GgufValueType.Float64 => 8,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "a type without a fixed size"),
    };

    static bool IsNumber(GgufValueType type) => IsInteger(type) || type is GgufValueType.Float32 or GgufValueType.Float64;

    static bool IsInteger(GgufValueType type) =>
        type is GgufValueType.UInt8 or GgufValueType.Int8 or GgufValueType.UInt16 or GgufValueType.Int16 or GgufValueType.UInt32
            or GgufValueType.Int32 or GgufValueType.UInt64 or GgufValueType.Int64;

    string StringAt(int at, out int next)
    {
        int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(header.Bytes.AsSpan(at));
        next = at + sizeof(ulong) + length;
        return Encoding.UTF8.GetString(header.Bytes, at + sizeof(ulong), length);
    }

    (GgufValueType ElementType, int Count, int First) ArrayAt(int at) =>
        ((GgufValueType)BinaryPrimitives.ReadUInt32LittleEndian(header.Bytes.AsSpan(at)),
            (int)BinaryPrimitives.ReadUInt64LittleEndian(header.Bytes.AsSpan(at + sizeof(uint))), at + sizeof(uint) + sizeof(ulong));

    /// <summary>Where the value after the one at <paramref name="at"/> begins.</summary>
    int Next(int at, GgufValueType type)
    {
        if (type == GgufValueType.String)
            return at + sizeof(ulong) + (int)BinaryPrimitives.ReadUInt64LittleEndian(header.Bytes.AsSpan(at));
        if (type != GgufValueType.Array)
            return at + SizeOf(type);
        var (elementType, count, next) = ArrayAt(at);
        if (elementType is not (GgufValueType.String or GgufValueType.Array))
            return next + (count * SizeOf(elementType));
        for (int i = 0; i < count; i++)
            next = Next(next, elementType);
        return next;
    }

    long IntegerAt(int at, GgufValueType type)
    {
        var bytes = header.Bytes.AsSpan(at);
        return type switch
        {
            GgufValueType.UInt8 => bytes[0],
            GgufValueType.Int8 => (sbyte)bytes[0],
            GgufValueType.UInt16 => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
            GgufValueType.Int16 => BinaryPrimitives.ReadInt16LittleEndian(bytes),
            GgufValueType.UInt32 => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
            GgufValueType.Int32 => BinaryPrimitives.ReadInt32LittleEndian(bytes),
            GgufValueType.Int64 => BinaryPrimitives.ReadInt64LittleEndian(bytes),
            _ => BinaryPrimitives.ReadUInt64LittleEndian(bytes) is var value && value <= long.MaxValue ? (long)value
                : throw CheckpointException.OfFile(path, $"the metadata {CheckpointException.Quote(key)} holds {value}, which is beyond 63 bits"),
        };
    }

    double NumberAt(int at, GgufValueType type) => type switch
    {
        GgufValueType.Float32 => BinaryPrimitives.ReadSingleLittleEndian(header.Bytes.AsSpan(at)),
        GgufValueType.Float64 => BinaryPrimitives.ReadDoubleLittleEndian(header.Bytes.AsSpan(at)),
        GgufValueType.UInt64 => BinaryPrimitives.ReadUInt64LittleEndian(header.Bytes.AsSpan(at)),
        _ => IntegerAt(at, type),
    };

    void RequireArray(bool isOne, string expected)
    {
        if (Type != GgufValueType.Array || !isOne)
            throw Mismatch(expected);
    }

    CheckpointException Mismatch(string expected) => CheckpointException.OfFile(path,
        $"the metadata {CheckpointException.Quote(key)} is {(Type == GgufValueType.Array ? $"an array of {ElementType}" : Type.ToString())}, {expected} was expected");
}
