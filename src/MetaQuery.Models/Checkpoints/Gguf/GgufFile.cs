using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>A GGUF file (versions 2 and 3), memory-mapped; quantised tensors are decoded when they are loaded, straight to float32,
/// or to bfloat16 when that is asked for. Names and shapes are the file's own, the shapes in PyTorch's order.</summary>
public sealed class GgufFile : WeightSource
{
    readonly CheckpointFile file;
    readonly GgufHeader header;
    string[]? keys;

    internal GgufFile(CheckpointFile file, int decodeThreads = 1)
    {
        this.file = file;
        DecodeThreads = decodeThreads;
        try
        {
            header = GgufHeader.Read(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads metadata and tensor table.</summary>
    /// <param name="path">The file.</param>
    /// <param name="decodeThreads">Threads that share the rows of one large quantised tensor while it is decoded.</param>
    /// <exception cref="CheckpointException">The file cannot be read, or is not a well-formed GGUF file.</exception>
    public static GgufFile Open(string path, int decodeThreads = 1) => new(new MappedCheckpointFile(path), decodeThreads);

    /// <summary>Reads a file that lies in memory; <paramref name="name"/> is what errors call it.</summary>
    /// <exception cref="CheckpointException">The bytes are no well-formed GGUF file.</exception>
    public static GgufFile Parse(string name, byte[] bytes) => new(new MemoryCheckpointFile(name, bytes));

    public IReadOnlyDictionary<string, GgufValue> Metadata => header.Metadata;

    public uint Version => header.Version;

    /// <summary>Threads that share the rows of one large quantised tensor while it is decoded.</summary>
    public int DecodeThreads { get; }

    public override string Path => file.Path;

    public override IReadOnlyCollection<string> Keys => keys ??= [.. header.Tensors.Select(entry => entry.Name)];

    /// <exception cref="CheckpointException">The metadata has no such key.</exception>
    public GgufValue Require(string key) => Metadata.TryGetValue(key, out var value) ? value
        : throw CheckpointException.OfFile(Path, $"the metadata {CheckpointException.Quote(key)} is missing");

    public override bool Contains(string key) => header.ByName.ContainsKey(key);

    public override WeightInfo Describe(string key)
    {
        var entry = Entry(key);
        return new WeightInfo(key, entry.Shape, entry.Type.AsStored() ?? ScalarType.Float32, entry.Type.ToString(), entry.Bytes);
    }

    public override Tensor Load(string key, ScalarType? dtype = null) => Load(key, dtype, rowOrder: null);

    /// <summary>Copies a tensor's first bytes as the file has them, quantised blocks and all.</summary>
    /// <exception cref="CheckpointException">There is no such tensor, or it has fewer bytes.</exception>
    public void ReadStored(string key, Span<byte> destination)
    {
        var entry = Entry(key);
        if (destination.Length > entry.Bytes)
            throw CheckpointException.OfTensor(Path, key, $"{destination.Length} bytes were asked for, it has {entry.Bytes}");
        file.Read(entry.Offset, destination);
    }

    /// <summary>As <see cref="Load(string, ScalarType?)"/>, with row i of the result taken from row <paramref name="rowOrder"/>(i).</summary>
    internal Tensor Load(string key, ScalarType? dtype, Func<long, long>? rowOrder)
    {
        var entry = Entry(key);
        if (entry.Type.AsStored() is { } stored && rowOrder is null)
            return TensorData.FromFile(file, entry.Offset, entry.Bytes, entry.Shape, stored, dtype ?? stored);
        return GgufDecoder.Load(file, entry, dtype, rowOrder, DecodeThreads);
    }

    GgufEntry Entry(string key) =>
        header.ByName.TryGetValue(key, out var entry) ? entry : throw CheckpointException.OfTensor(Path, key, "there is no such tensor in the file");

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            file.Dispose();
    }
}
