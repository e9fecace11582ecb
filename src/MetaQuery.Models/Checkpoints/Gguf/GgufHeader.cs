namespace MetaQuery.Models.Checkpoints;

/// <summary>One tensor's line in a GGUF file: the shape outermost first, as in PyTorch (the file has it in reverse), the offset from the
/// file's first byte.</summary>
sealed record GgufEntry(string Name, GgmlType Type, long[] Shape, long Offset, long Bytes);

/// <summary>The front of a GGUF file, versions 2 and 3: metadata, then the table of tensors (ggml <c>docs/gguf.md</c>).</summary>
sealed class GgufHeader
{
    const uint Magic = 0x46554747; // "GGUF"
    const long DefaultAlignment = 32;
    const string AlignmentKey = "general.alignment";

    // Far above any model's; they bound what a small file can make a reader allocate.
    const ulong MostEntries = 1 << 16;
    const int LongestKeyBytes = (1 << 16) - 1; // the format's own limit
    const int LongestTensorNameBytes = 1024;
    const int MostNestedArrays = 8;
    const int MostDimensions = 4; // ggml's own limit

    public required IReadOnlyDictionary<string, GgufValue> Metadata { get; init; }

    /// <summary>In the file's order.</summary>
    public required IReadOnlyList<GgufEntry> Tensors { get; init; }

    public required IReadOnlyDictionary<string, GgufEntry> ByName { get; init; }

    public required uint Version { get; init; }

    public static GgufHeader Read(CheckpointFile file)
    {
        var cursor = new GgufCursor(file);
        if (cursor.ReadUInt32() != Magic)
            throw cursor.Error("not a GGUF file: it does not begin with \"GGUF\"");
        uint version = cursor.ReadUInt32();
        if (version is not (2 or 3))
            throw cursor.Error((version & 0xffff) == 0 && version != 0 ? "big-endian GGUF files are not supported" : $"GGUF version {version} is not supported; versions 2 and 3 are");
        ulong tensors = cursor.ReadUInt64(), values = cursor.ReadUInt64();
        if (tensors > MostEntries || values > MostEntries)
            throw cursor.Error($"it claims {tensors} tensors and {values} metadata values; at most {MostEntries} of each are read");

        var metadata = new Dictionary<string, GgufValue>();
        for (ulong i = 0; i < values; i++)
        {
            cursor.Place = $"metadata value {i} of {values}";
            string key = cursor.ReadString("a metadata key", LongestKeyBytes);
            if (!metadata.TryAdd(key, ReadValue(cursor, file.Path, key)))
                throw cursor.Error($"the metadata key {CheckpointException.Quote(key)} stands twice");
        }
        long alignment = Alignment(cursor, metadata);
        var entries = new List<GgufEntry>();
        for (ulong i = 0; i < tensors; i++)
        {
            cursor.Place = $"the entry of tensor {i} of {tensors}";
            entries.Add(ReadEntry(cursor, file.Path, alignment));
        }
        long dataStart = AlignUp(cursor.Position, alignment);
        var byName = new Dictionary<string, GgufEntry>(entries.Count);
        for (int i = 0; i < entries.Count; i++)
        {
            var entry = entries[i];
            if (entry.Offset > file.Length - dataStart - entry.Bytes || entry.Offset > file.Length - dataStart)
                throw CheckpointException.OfTensor(file.Path, entry.Name, $"its {entry.Bytes} bytes from {entry.Offset} on reach past the end of the data ({Math.Max(0, file.Length - dataStart)} bytes): the file is cut short, or the offset is wrong");
            entries[i] = entry with { Offset = dataStart + entry.Offset };
            if (!byName.TryAdd(entry.Name, entries[i]))
                throw CheckpointException.OfTensor(file.Path, entry.Name, "the name stands twice in the file");
        }
        RefuseOverlaps(file.Path, entries);
        return new GgufHeader { Metadata = metadata, Tensors = entries, ByName = byName, Version = version };
    }

    static GgufValue ReadValue(GgufCursor cursor, string path, string key)
    {
        var type = ReadType(cursor, key);
        if (type == GgufValueType.Array)
        {
            var (elementType, count) = SkipArray(cursor, key, depth: 1, out int first);
            return new GgufValue(path, key, cursor, type, first, elementType, count);
        }
        int begin = cursor.Position;
        SkipScalar(cursor, key, type);
        return new GgufValue(path, key, cursor, type, begin, type, 1);
    }

    static GgufValueType ReadType(GgufCursor cursor, string key)
    {
        uint type = cursor.ReadUInt32();
        return type <= (uint)GgufValueType.Float64 ? (GgufValueType)type
            : throw cursor.Error($"the metadata {CheckpointException.Quote(key)} has the unknown value type {type}");
    }

    static void SkipScalar(GgufCursor cursor, string key, GgufValueType type)
    {
        if (type == GgufValueType.String)
            cursor.SkipString($"the metadata {CheckpointException.Quote(key)}");
        else if (cursor.Take(GgufValue.SizeOf(type))[0] > 1 && type == GgufValueType.Bool)
            throw cursor.Error($"the metadata {CheckpointException.Quote(key)} is a boolean other than 0 and 1");
    }

    static (GgufValueType ElementType, int Count) SkipArray(GgufCursor cursor, string key, int depth, out int first)
    {
        if (depth > MostNestedArrays)
            throw cursor.Error($"the metadata {CheckpointException.Quote(key)} nests arrays more than {MostNestedArrays} deep");
        var elementType = ReadType(cursor, key);
        ulong count = cursor.ReadUInt64();
        int smallest = elementType switch { GgufValueType.String => sizeof(ulong), GgufValueType.Array => sizeof(uint) + sizeof(ulong), _ => GgufValue.SizeOf(elementType) };
        if (count > (ulong)(cursor.BytesLeft / smallest))
            throw cursor.Error($"the metadata {CheckpointException.Quote(key)} claims {count} elements, the file has {cursor.BytesLeft} bytes left");
        first = cursor.Position;
        if (elementType == GgufValueType.String)
        {
            string what = $"an element of the metadata {CheckpointException.Quote(key)}";
            for (ulong i = 0; i < count; i++)
                cursor.SkipString(what);
        }
        else if (elementType == GgufValueType.Array)
        {
            for (ulong i = 0; i < count; i++)
                SkipArray(cursor, key, depth + 1, out _);
        }
        else
        {
            var elements = cursor.Take((long)count * smallest);
            if (elementType == GgufValueType.Bool && elements.ContainsAnyExceptInRange((byte)0, (byte)1))
                throw cursor.Error($"the metadata {CheckpointException.Quote(key)} holds a boolean other than 0 and 1");
        }
        return (elementType, (int)count);
    }

    static long Alignment(GgufCursor cursor, Dictionary<string, GgufValue> metadata)
    {
        if (!metadata.TryGetValue(AlignmentKey, out var value))
            return DefaultAlignment;
        if (value.Type != GgufValueType.UInt32)
            throw cursor.Error($"{AlignmentKey} is {value.Type}, the format says UInt32");
        long alignment = value.AsInt64();
        return alignment > 0 && long.IsPow2(alignment) ? alignment : throw cursor.Error($"{AlignmentKey} is {alignment}, which is no power of two");
    }

    static GgufEntry ReadEntry(GgufCursor cursor, string path, long alignment)
    {
        string name = cursor.ReadString("a tensor's name", LongestTensorNameBytes);
        uint rank = cursor.ReadUInt32();
        if (rank > MostDimensions)
            throw CheckpointException.OfTensor(path, name, $"it has {rank} dimensions, at most {MostDimensions} are allowed");
        var shape = new long[rank];
        for (int i = shape.Length - 1; i >= 0; i--)
        {
            ulong size = cursor.ReadUInt64();
            shape[i] = size <= long.MaxValue ? (long)size : throw CheckpointException.OfTensor(path, name, $"the size {size} in its shape is beyond 63 bits");
        }
        var type = (GgmlType)cursor.ReadUInt32();
        var (blockElements, blockBytes) = type.Block();
        if (blockElements == 0)
            throw CheckpointException.OfTensor(path, name, $"the type {(uint)type} is unknown");
        ulong offset = cursor.ReadUInt64();
        if (offset > long.MaxValue || (long)offset % alignment != 0)
            throw CheckpointException.OfTensor(path, name, $"its offset {offset} is no multiple of the alignment {alignment}");
        long columns = rank == 0 ? 1 : shape[^1];
        if (columns % blockElements != 0)
            throw CheckpointException.OfTensor(path, name, $"its rows of {columns} elements are no whole number of {type} blocks of {blockElements}");
        try
        {
            long elements = 1, strides = 1;
            foreach (long size in shape)
            {
                elements = checked(elements * size);
                strides = checked(strides * Math.Max(size, 1));
            }
            return new GgufEntry(name, type, shape, (long)offset, checked(elements / blockElements * blockBytes));
        }
        catch (OverflowException e)
        {
            throw CheckpointException.OfTensor(path, name, $"the product of its shape {WeightSource.ShapeText(shape)} is beyond 63 bits", e);
        }
    }

    static long AlignUp(long position, long alignment) => (position + alignment - 1) / alignment * alignment;

    static void RefuseOverlaps(string path, List<GgufEntry> entries)
    {
        var sorted = entries.OrderBy(static entry => entry.Offset).ThenBy(static entry => entry.Bytes).ToArray();
        for (int i = 1; i < sorted.Length; i++)
        {
            long end = sorted[i - 1].Offset + sorted[i - 1].Bytes;
            if (sorted[i].Offset < end)
                throw CheckpointException.OfTensor(path, sorted[i].Name, $"its data begins at byte {sorted[i].Offset} of the file, inside {CheckpointException.Quote(sorted[i - 1].Name)}, which ends at {end}");
        }
    }
}
