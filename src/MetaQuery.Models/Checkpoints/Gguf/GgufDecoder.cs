using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>Turns a GGUF tensor's rows into a tensor, in another order if asked, on several threads if asked.</summary>
static unsafe class GgufDecoder
{
    /// <summary>Below this many elements a second thread costs more than it gives.</summary>
    const long SmallestParallelElements = 1 << 18;

    /// <summary>Elements decoded between two conversions to bfloat16: small enough for the first-level cache, a multiple of all blocks.</summary>
    const int ChunkElements = 2048;

    public static Tensor Load(CheckpointFile file, GgufEntry entry, ScalarType? dtype, Func<long, long>? rowOrder, int threads)
    {
        var (blockElements, blockBytes) = entry.Type.Block();
        long columns = entry.Shape.Length == 0 ? 1 : entry.Shape.Length == 1 && rowOrder is not null ? 1 : entry.Shape[^1];
        long elements = entry.Shape.Aggregate(1L, static (product, size) => product * size);
        long rows = columns == 0 ? 0 : elements / columns;
        long rowBytes = columns / blockElements * blockBytes;
        byte* source = file.AddressOf(entry.Offset, entry.Bytes);
        if (entry.Type.AsStored() is { } stored)
            return TensorData.Fill(entry.Shape, stored, dtype ?? stored, destination => CopyRows(source, (byte*)destination, rows, rowBytes, rowOrder));

        var decode = BlockDecoder.For(entry.Type)
            ?? throw CheckpointException.OfTensor(file.Path, entry.Name, $"the type {entry.Type} is not supported; F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K and Q6_K are");
        var decoded = dtype == ScalarType.BFloat16 ? ScalarType.BFloat16 : ScalarType.Float32;
        long rowBlocks = columns / blockElements;
        return TensorData.Fill(entry.Shape, decoded, dtype ?? decoded, destination => InParts(rows, elements, threads, (first, end) =>
        {
            if (rowOrder is null)
            {
                Decode(decode, source + (first * rowBytes), destination, first * columns, (end - first) * rowBlocks, entry.Type, decoded);
                return;
            }
            for (long row = first; row < end; row++)
                Decode(decode, source + (rowOrder(row) * rowBytes), destination, row * columns, rowBlocks, entry.Type, decoded);
        }));
    }

    /// <summary>Decodes blocks to element <paramref name="index"/> and on of the destination.</summary>
    [SkipLocalsInit] // the chunk would be cleared once for every row
    static void Decode(BlockDecoder.Run decode, byte* source, nint destination, long index, long blocks, GgmlType type, ScalarType decoded)
    {
        if (decoded == ScalarType.Float32)
        {
            decode(source, (float*)destination + index, blocks);
            return;
        }
        float* chunk = stackalloc float[ChunkElements];
        var (blockElements, blockBytes) = type.Block();
        var target = (ushort*)destination + index;
        while (blocks > 0)
        {
            long count = Math.Min(blocks, ChunkElements / blockElements);
            decode(source, chunk, count);
            ToBFloat16(chunk, target, count * blockElements);
            blocks -= count;
            source += count * blockBytes;
            target += count * blockElements;
        }
    }

    /// <summary>Rounds to nearest, ties to even, as the tensor library does; any NaN becomes 0x7FC0. The count is a multiple of 32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void ToBFloat16(float* source, ushort* destination, long count)
    {
        for (long i = 0; i < count; i += 16)
            Vector256.Narrow(Rounded(source + i), Rounded(source + i + 8)).Store(destination + i);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        static Vector256<uint> Rounded(float* at)
        {
            var values = Vector256.Load(at);
            var bits = values.AsUInt32();
            var rounded = (bits + Vector256.Create(0x7fffu) + ((bits >>> 16) & Vector256.Create(1u))) >>> 16;
            return Vector256.ConditionalSelect(Vector256.Equals(values, values).AsUInt32(), rounded, Vector256.Create(0x7fc0u));
        }
    }

    static void CopyRows(byte* source, byte* destination, long rows, long rowBytes, Func<long, long>? rowOrder)
    {
        for (long row = 0; row < rows; row++)
            Buffer.MemoryCopy(source + ((rowOrder?.Invoke(row) ?? row) * rowBytes), destination + (row * rowBytes), rowBytes, rowBytes);
    }

    static void InParts(long rows, long elements, int threads, Action<long, long> part)
    {
        if (threads <= 1 || elements < SmallestParallelElements || rows < threads)
        {
            part(0, rows);
            return;
        }
        Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, i => part(rows * i / threads, rows * (i + 1) / threads));
    }
}
