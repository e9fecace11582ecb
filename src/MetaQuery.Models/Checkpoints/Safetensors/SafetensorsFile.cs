using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A safetensors file, memory-mapped.</summary>
public sealed class SafetensorsFile : WeightSource
{
    readonly CheckpointFile file;
    readonly SafetensorsHeader header;
    string[]? keys;

    internal SafetensorsFile(CheckpointFile file)
    {
        this.file = file;
        try
        {
            header = SafetensorsHeader.Read(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads the header; the tensors stay in the file until they are loaded.</summary>
    /// <exception cref="CheckpointException">The file cannot be read, or is not a well-formed safetensors file.</exception>
    public static SafetensorsFile Open(string path) => new(new MappedCheckpointFile(path));

    /// <summary>Reads a file that lies in memory; <paramref name="name"/> is what errors call it.</summary>
    /// <exception cref="CheckpointException">The bytes are no well-formed safetensors file.</exception>
    public static SafetensorsFile Parse(string name, byte[] bytes) => new(new MemoryCheckpointFile(name, bytes));

    /// <summary>What the file says of itself under <c>__metadata__</c>.</summary>
    public IReadOnlyDictionary<string, string> Metadata => header.Metadata;

    public override string Path => file.Path;

    public override IReadOnlyCollection<string> Keys => keys ??= [.. header.InDataOrder.Select(entry => entry.Name)];

    public override bool Contains(string key) => header.ByName.ContainsKey(key);

    public override WeightInfo Describe(string key)
    {
        var entry = Entry(key);
        return new WeightInfo(key, entry.Shape, entry.Dtype.AsStored() ?? ScalarType.Float32, entry.Dtype.Name(), entry.End - entry.Begin);
    }

    public override unsafe Tensor Load(string key, ScalarType? dtype = null)
    {
        var entry = Entry(key);
        long begin = header.DataStart + entry.Begin, bytes = entry.End - entry.Begin;
        if (entry.Dtype.AsStored() is { } stored)
        {
            byte* data = file.AddressOf(begin, bytes);
            if (stored == ScalarType.Bool)
                CheckBooleans(key, new UnmanagedBytes(data, bytes));
            return TensorData.FromFile(file, begin, bytes, entry.Shape, stored, dtype ?? stored);
        }
        if (!entry.Dtype.IsFloat8())
            throw CheckpointException.OfTensor(Path, key, $"the dtype {entry.Dtype.Name()} is not supported");
        return TensorData.Fill(entry.Shape, ScalarType.Float32, dtype ?? ScalarType.Float32, destination => Decode(entry, (float*)destination));
    }

    /// <summary>Decodes a float8 tensor's elements in order.</summary>
    unsafe void Decode(SafetensorsEntry entry, float* destination) =>
        Float8.Decode(entry.Dtype, file.AddressOf(header.DataStart + entry.Begin, entry.End - entry.Begin), destination, entry.End - entry.Begin);

    void CheckBooleans(string key, UnmanagedBytes data)
    {
        // Any other byte is undefined behaviour in the tensor library.
        long at = data.IndexOfAnyAbove(1);
        if (at >= 0)
            throw CheckpointException.OfTensor(Path, key, $"element {at} is no boolean: a byte other than 0 and 1");
    }

    SafetensorsEntry Entry(string key) =>
        header.ByName.TryGetValue(key, out var entry) ? entry : throw CheckpointException.OfTensor(Path, key, "there is no such tensor in the file");

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            file.Dispose();
    }
}
