using System.Text;

namespace MetaQuery.Models.Tests.Checkpoints;

/// <summary>What a field of a file is, for mutations that aim at it.</summary>
public enum FieldKind
{
    Count, Length, ValueType, ArrayCount, Rank, Size, TensorType, Offset, Value,
}

/// <summary>A field's place in a file that a test wrote.</summary>
public sealed record Field(FieldKind Kind, int At, int Bytes);

/// <summary>Writes a GGUF file, and remembers where each field of it stands.</summary>
public sealed class GgufBuilder(uint version = 3, int alignment = 32, bool statesAlignment = false)
{
    readonly List<(string Key, Action<GgufBuilder> Write)> values = [];
    readonly List<(string Name, long[] Shape, uint Type, byte[] Data)> tensors = [];
    readonly MemoryStream stream = new();
    readonly List<Field> fields = [];

    /// <summary>The numbers of ggml's tensor types.</summary>
    public static readonly IReadOnlyDictionary<string, (uint Number, int Elements, int Bytes)> Types = new Dictionary<string, (uint, int, int)>
    {
        ["F32"] = (0, 1, 4), ["F16"] = (1, 1, 2), ["BF16"] = (30, 1, 2), ["Q4_0"] = (2, 32, 18), ["Q4_1"] = (3, 32, 20), ["Q5_0"] = (6, 32, 22),
        ["Q5_1"] = (7, 32, 24), ["Q8_0"] = (8, 32, 34), ["Q4_K"] = (12, 256, 144), ["Q5_K"] = (13, 256, 176), ["Q6_K"] = (14, 256, 210),
    };

    public IReadOnlyList<Field> Fields => fields;

    public GgufBuilder Value(string key, uint type, Action<GgufBuilder> write)
    {
        values.Add((key, builder =>
        {
            builder.UInt32(type, FieldKind.ValueType);
            write(builder);
        }));
        return this;
    }

    public GgufBuilder Text(string key, string text) => Value(key, 8, builder => builder.Text(text));

    public GgufBuilder UInt32(string key, uint value) => Value(key, 4, builder => builder.UInt32(value, FieldKind.Value));

    public GgufBuilder Texts(string key, params string[] texts) => Value(key, 9, builder => builder.Array(8, texts.Length, () =>
    {
        foreach (string text in texts)
            builder.Text(text);
    }));

    /// <param name="name">The tensor's name.</param>
    /// <param name="type">"Q4_1" and the like.</param>
    /// <param name="shape">Outermost first.</param>
    /// <param name="data">All its bytes.</param>
    public GgufBuilder Tensor(string name, string type, long[] shape, byte[] data)
    {
        tensors.Add((name, shape, Types[type].Number, data));
        return this;
    }

    public byte[] Build()
    {
        stream.SetLength(0);
        fields.Clear();
        stream.Write("GGUF"u8);
        UInt32(version, FieldKind.Value);
        UInt64((ulong)tensors.Count, FieldKind.Count);
        UInt64((ulong)(values.Count + (statesAlignment ? 1 : 0)), FieldKind.Count);
        if (statesAlignment)
        {
            Text("general.alignment");
            UInt32(4, FieldKind.ValueType);
            UInt32((uint)alignment, FieldKind.Value);
        }
        foreach (var (key, write) in values)
        {
            Text(key);
            write(this);
        }
        long offset = 0;
        foreach (var (name, shape, type, data) in tensors)
        {
            Text(name);
            UInt32((uint)shape.Length, FieldKind.Rank);
            foreach (long size in shape.Reverse())
                UInt64((ulong)size, FieldKind.Size);
            UInt32(type, FieldKind.TensorType);
            UInt64((ulong)offset, FieldKind.Offset);
            offset = Aligned(offset + data.Length);
        }
        foreach (var (_, _, _, data) in tensors)
        {
            stream.SetLength(Aligned(stream.Length));
            stream.Position = stream.Length;
            stream.Write(data);
        }
        return stream.ToArray();
    }

    public void Array(uint elementType, int count, Action writeElements)
    {
        UInt32(elementType, FieldKind.ValueType);
        UInt64((ulong)count, FieldKind.ArrayCount);
        writeElements();
    }

    public void UInt32(uint value, FieldKind kind) => Number(BitConverter.GetBytes(value), kind);

    public void UInt64(ulong value, FieldKind kind) => Number(BitConverter.GetBytes(value), kind);

    public void Text(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        UInt64((ulong)bytes.Length, FieldKind.Length);
        stream.Write(bytes);
    }

    /// <summary>Little-endian bytes of a value.</summary>
    public void Number(byte[] bytes, FieldKind kind = FieldKind.Value)
    {
        fields.Add(new Field(kind, (int)stream.Position, bytes.Length));
        stream.Write(bytes);
    }

    long Aligned(long position) => (position + alignment - 1) / alignment * alignment;
}
