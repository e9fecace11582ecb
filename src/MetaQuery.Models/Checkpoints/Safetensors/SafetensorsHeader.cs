using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Unicode;

namespace MetaQuery.Models.Checkpoints;

/// <summary>One tensor's line in the header. Its bytes are counted from the end of the header; End is one past the last.</summary>
sealed record SafetensorsEntry(string Name, SafetensorsDtype Dtype, long[] Shape, long Begin, long End);

/// <summary>The header of a safetensors file: eight bytes of length, then a JSON object from tensor names to dtype, shape and byte range
/// (https://github.com/huggingface/safetensors#format). Read strictly: a file that could be understood in two ways is refused.</summary>
sealed class SafetensorsHeader
{
    /// <summary>The format's own limit for the JSON part.</summary>
    const ulong LargestHeaderBytes = 100_000_000;

    const int LengthFieldBytes = 8;

    /// <summary>Dimensions beyond which the tensor library's iterators refuse to work.</summary>
    const int MostDimensions = 64;

    /// <summary>The shortest entry, name included: <c>"":{"dtype":"U8","shape":[],"data_offsets":[0,0]},</c>.</summary>
    const int SmallestEntryBytes = 48;

    static readonly string[] EntryFields = ["dtype", "shape", "data_offsets"];

    readonly Dictionary<string, SafetensorsEntry> byName;
    readonly SafetensorsEntry[] inDataOrder;

    SafetensorsHeader(Dictionary<string, SafetensorsEntry> byName, SafetensorsEntry[] inDataOrder, IReadOnlyDictionary<string, string> metadata, long dataStart)
    {
        this.byName = byName;
        this.inDataOrder = inDataOrder;
        Metadata = metadata;
        DataStart = dataStart;
    }

    /// <summary>The entry <c>__metadata__</c>; empty if there is none.</summary>
    public IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>Where the data begins in the file: any byte, not always an aligned one.</summary>
    public long DataStart { get; }

    public IReadOnlyDictionary<string, SafetensorsEntry> ByName => byName;

    public IReadOnlyList<SafetensorsEntry> InDataOrder => inDataOrder;

    public static SafetensorsHeader Read(CheckpointFile file)
    {
        if (file.Length < LengthFieldBytes)
            throw CheckpointException.OfFile(file.Path, $"{file.Length} bytes are too few for a safetensors file, which begins with {LengthFieldBytes} bytes of header length");
        Span<byte> field = stackalloc byte[LengthFieldBytes];
        file.Read(0, field);
        ulong headerBytes = BinaryPrimitives.ReadUInt64LittleEndian(field);
        if (headerBytes > LargestHeaderBytes)
            throw CheckpointException.OfFile(file.Path, $"not a safetensors file: the header would be {headerBytes} bytes, at most {LargestHeaderBytes} are allowed");
        if ((long)headerBytes > file.Length - LengthFieldBytes)
            throw CheckpointException.OfFile(file.Path, $"the header of {headerBytes} bytes reaches past the end of the file ({file.Length} bytes)");
        byte[] json = GC.AllocateUninitializedArray<byte>((int)headerBytes);
        file.Read(LengthFieldBytes, json);
        long dataStart = LengthFieldBytes + (long)headerBytes;
        return Parse(file.Path, json, dataStart, file.Length - dataStart);
    }

    static SafetensorsHeader Parse(string path, ReadOnlySpan<byte> json, long dataStart, long dataBytes)
    {
        if (json.IsEmpty || json[0] != (byte)'{')
            throw CheckpointException.OfFile(path, "not a safetensors file: the header does not begin with \"{\"");
        if (!Utf8.IsValid(json))
            throw CheckpointException.OfFile(path, "the header is not valid UTF-8");
        var named = new Dictionary<string, SafetensorsEntry>(json.Length / SmallestEntryBytes);
        Dictionary<string, string>? metadata = null;
        var reader = new StrictJson(path, "header", json);
        reader.BeginObject("the header");
        while (reader.NextProperty() is { } name)
        {
            if (name.Equals("__metadata__", StringComparison.Ordinal))
            {
                if (metadata is not null)
                    throw CheckpointException.OfFile(path, "__metadata__ stands twice in the header");
                metadata = ReadMetadata(ref reader);
            }
            else
            {
                reader.Tensor = name;
                if (!named.TryAdd(name, ReadEntry(ref reader, path, name)))
                    throw CheckpointException.OfTensor(path, name, "the name stands twice in the header");
                reader.Tensor = null;
            }
        }
        reader.End();

        var entries = new SafetensorsEntry[named.Count];
        named.Values.CopyTo(entries, 0);
        Array.Sort(entries, static (a, b) => a.Begin != b.Begin ? a.Begin.CompareTo(b.Begin) : a.End.CompareTo(b.End));
        CheckCoverage(path, entries, dataBytes);
        return new SafetensorsHeader(named, entries, metadata ?? [], dataStart);
    }

    static Dictionary<string, string> ReadMetadata(ref StrictJson reader)
    {
        var metadata = new Dictionary<string, string>();
        reader.BeginObject("__metadata__");
        while (reader.NextProperty() is { } key)
        {
            if (!metadata.TryAdd(key, reader.ReadString("a value of __metadata__")))
                throw reader.Error($"the key {CheckpointException.Quote(key)} stands twice in __metadata__");
        }
        return metadata;
    }

    static SafetensorsEntry ReadEntry(ref StrictJson reader, string path, string name)
    {
        SafetensorsDtype? dtype = null;
        long[]? shape = null;
        ulong begin = 0, end = 0;
        bool hasOffsets = false;
        HashSet<string>? others = null;
        Span<ulong> numbers = stackalloc ulong[MostDimensions];
        reader.BeginObject("the entry");
        while (reader.NextProperty(EntryFields) is { } field)
        {
            switch (field)
            {
                case "dtype":
                    reader.RefuseTwice(dtype is not null, field);
                    string text = reader.ReadString("dtype", SafetensorsDtypes.Names);
                    dtype = SafetensorsDtypes.Find(text) ?? throw reader.Error($"the dtype {CheckpointException.Quote(text)} is unknown");
                    break;
                case "shape":
                    reader.RefuseTwice(shape is not null, field);
                    int rank = reader.ReadUnsignedArray(numbers, "shape");
                    shape = ToShape(ref reader, numbers[..rank]);
                    break;
                case "data_offsets":
                    reader.RefuseTwice(hasOffsets, field);
                    int count = reader.ReadUnsignedArray(numbers, "data_offsets");
                    if (count != 2)
                        throw reader.Error($"data_offsets has {count} numbers, two are needed");
                    (begin, end, hasOffsets) = (numbers[0], numbers[1], true);
                    break;
                default: // the format allows fields to be added
                    reader.RefuseTwice(!(others ??= []).Add(field), field);
                    reader.SkipValue();
                    break;
            }
        }
        if (dtype is not { } stored)
            throw reader.Error("its entry has no dtype");
        if (shape is null)
            throw reader.Error("its entry has no shape");
        if (!hasOffsets)
            throw reader.Error("its entry has no data_offsets");
        if (begin > end || end > long.MaxValue)
            throw reader.Error($"data_offsets {begin} to {end} are no range of bytes");
        long bytes = ByteCount(path, name, stored, shape);
        if ((long)(end - begin) != bytes)
            throw reader.Error($"{stored.Name()} of shape {WeightSource.ShapeText(shape)} takes {bytes} bytes, data_offsets give it {end - begin}");
        return new SafetensorsEntry(name, stored, shape, (long)begin, (long)end);
    }

    static long[] ToShape(ref StrictJson reader, scoped ReadOnlySpan<ulong> sizes)
    {
        long[] shape = sizes.IsEmpty ? [] : new long[sizes.Length];
        for (int i = 0; i < sizes.Length; i++)
            shape[i] = sizes[i] <= long.MaxValue ? (long)sizes[i] : throw reader.Error($"the size {sizes[i]} in its shape is beyond 63 bits");
        return shape;
    }

    static long ByteCount(string path, string name, SafetensorsDtype dtype, long[] shape)
    {
        try
        {
            // Strides are products too, in which an empty dimension counts as one: they must not wrap even where the tensor is empty.
            long strides = 1, elements = 1;
            foreach (long size in shape)
            {
                strides = checked(strides * Math.Max(size, 1));
                elements = checked(elements * size);
            }
            long bits = checked(elements * dtype.Bits());
            return bits % 8 == 0 ? bits / 8
                : throw CheckpointException.OfTensor(path, name, $"{elements} elements of {dtype.Bits()} bits ({dtype.Name()}) are no whole number of bytes");
        }
        catch (OverflowException e)
        {
            throw CheckpointException.OfTensor(path, name, $"the product of its shape {WeightSource.ShapeText(shape)} is beyond 63 bits", e);
        }
    }

    /// <summary>Every byte after the header belongs to exactly one tensor.</summary>
    static void CheckCoverage(string path, SafetensorsEntry[] entries, long dataBytes)
    {
        long covered = 0;
        foreach (var entry in entries)
        {
            if (entry.End > dataBytes)
                throw CheckpointException.OfTensor(path, entry.Name, $"its data ends at byte {entry.End} of {dataBytes}: the file is cut short, or the offset is wrong");
            if (entry.Begin < covered)
                throw CheckpointException.OfTensor(path, entry.Name, $"its data begins at byte {entry.Begin}, inside the tensor before it, which ends at {covered}");
            if (entry.Begin > covered)
                throw CheckpointException.OfTensor(path, entry.Name, $"its data begins at byte {entry.Begin}, bytes {covered} to {entry.Begin} belong to no tensor");
            covered = entry.End;
        }
        if (covered != dataBytes)
            throw CheckpointException.OfFile(path, $"the tensors end at byte {covered} of the data, which has {dataBytes}: bytes at the end belong to no tensor");
    }
}
