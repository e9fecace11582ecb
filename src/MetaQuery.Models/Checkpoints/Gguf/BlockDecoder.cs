using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace MetaQuery.Models.Checkpoints;

/// <summary>Decodes runs of ggml's quantised blocks to float32 (layouts and formulas: ggml <c>ggml-quants.c</c>, <c>dequantize_row_*</c>).
/// Products and sums are rounded one by one, as the plain formula says: no fused multiply-add, so that every CPU gives the same bits.</summary>
/// <remarks>Optimised at once: a model is loaded in the first second of a process, before the runtime would get round to it.</remarks>
static unsafe class BlockDecoder
{
    /// <summary>Decodes <paramref name="blocks"/> blocks from <paramref name="source"/> to <paramref name="destination"/>.</summary>
    public delegate void Run(byte* source, float* destination, long blocks);

    /// <summary>The decoder of a type, or null where there is none.</summary>
    public static Run? For(GgmlType type) => type switch
    {
        GgmlType.Q8_0 => Q8_0,
        GgmlType.Q4_0 => Q4_0,
        GgmlType.Q4_1 => Q4_1,
        GgmlType.Q5_0 => Q5_0,
        GgmlType.Q5_1 => Q5_1,
        GgmlType.Q4_K => Q4_K,
        GgmlType.Q5_K => Q5_K,
        GgmlType.Q6_K => Q6_K,
        _ => null,
    };

    /// <summary>fp16 scale, 32 signed bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Q8_0(byte* source, float* destination, long blocks)
    {
        for (; blocks > 0; blocks--, source += 34, destination += 32)
            Scale(Vector256.Load((sbyte*)source + 2), Half(source), destination);
    }

    /// <summary>fp16 scale, 16 bytes of two nibbles each: the low ones are elements 0 to 15, the high ones 16 to 31, all less 8.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Q4_0(byte* source, float* destination, long blocks)
    {
        for (; blocks > 0; blocks--, source += 18, destination += 32)
            Scale(Nibbles(source + 2).AsSByte() - Vector256.Create((sbyte)8), Half(source), destination);
    }

    /// <summary>fp16 scale, fp16 minimum, nibbles as in <see cref="Q4_0"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Q4_1(byte* source, float* destination, long blocks)
    {
        for (; blocks > 0; blocks--, source += 20, destination += 32)
            ScaleAndAdd(Nibbles(source + 4), Half(source), Half(source + 2), destination);
    }

    /// <summary>fp16 scale, 32 fifth bits, nibbles as in <see cref="Q4_0"/>, all less 16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Q5_0(byte* source, float* destination, long blocks)
    {
        for (; blocks > 0; blocks--, source += 22, destination += 32)
            Scale((Nibbles(source + 6) | FifthBits(source + 2)).AsSByte() - Vector256.Create((sbyte)16), Half(source), destination);
    }

    /// <summary>fp16 scale, fp16 minimum, 32 fifth bits, nibbles.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Q5_1(byte* source, float* destination, long blocks)
    {
        for (; blocks > 0; blocks--, source += 24, destination += 32)
            ScaleAndAdd(Nibbles(source + 8) | FifthBits(source + 4), Half(source), Half(source + 2), destination);
    }

    /// <summary>256 elements: fp16 scale and minimum of eight 6-bit scales and minima, then nibbles: 32 bytes hold two groups of 32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Q4_K(byte* source, float* destination, long blocks)
    {
        for (; blocks > 0; blocks--, source += 144)
        {
            float scale = Half(source), minimum = Half(source + 2);
            for (int group = 0; group < 8; group++, destination += 32)
            {
                var nibbles = HalfNibbles(source + 16 + (group / 2 * 32), high: group % 2 == 1);
                var (groupScale, groupMinimum) = ScaleAndMinimum(source + 4, group);
                ScaleAndAdd(nibbles, scale * groupScale, -(minimum * groupMinimum), destination);
            }
        }
    }

    /// <summary>As <see cref="Q4_K"/>, with a fifth bit of each element: bit g of 32 bytes belongs to group g.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Q5_K(byte* source, float* destination, long blocks)
    {
        var sixteen = Vector256.Create((byte)16);
        for (; blocks > 0; blocks--, source += 176)
        {
            float scale = Half(source), minimum = Half(source + 2);
            var high = Vector256.Load(source + 16);
            for (int group = 0; group < 8; group++, destination += 32)
            {
                var bit = Vector256.Create((byte)(1 << group));
                var fifth = Vector256.Equals(high & bit, bit) & sixteen;
                var values = HalfNibbles(source + 48 + (group / 2 * 32), high: group % 2 == 1) | fifth;
                var (groupScale, groupMinimum) = ScaleAndMinimum(source + 4, group);
                ScaleAndAdd(values, scale * groupScale, -(minimum * groupMinimum), destination);
            }
        }
    }

    /// <summary>256 elements: low nibbles, two high bits each, sixteen signed scales of 16 elements, fp16 scale of scales; all less 32.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static void Q6_K(byte* source, float* destination, long blocks)
    {
        var offset = Vector256.Create((sbyte)32);
        for (; blocks > 0; blocks--, source += 210)
        {
            float scale = Half(source + 208);
            var scales = (sbyte*)source + 192;
            for (int half = 0; half < 2; half++)
            {
                byte* low = source + (half * 64);
                var high = Vector256.Load(source + 128 + (half * 32));
                for (int group = 0; group < 4; group++, destination += 32, scales += 2)
                {
                    var bits = (high.AsUInt16() >>> (group * 2)).AsByte() & Vector256.Create((byte)3);
                    var nibbles = HalfNibbles(low + (group % 2 * 32), high: group >= 2);
                    var values = (nibbles | (bits.AsUInt16() << 4).AsByte()).AsSByte() - offset;
                    Scale(values, scale * scales[0], scale * scales[1], destination);
                }
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static float Half(byte* at) => (float)BitConverter.UInt16BitsToHalf(BinaryPrimitives.ReadUInt16LittleEndian(new ReadOnlySpan<byte>(at, 2)));

    /// <summary>16 bytes to 32 values: low nibbles first, then high ones.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<byte> Nibbles(byte* at)
    {
        var packed = Vector128.Load(at);
        return Vector256.Create(packed, (packed.AsUInt16() >>> 4).AsByte()) & Vector256.Create((byte)0xf);
    }

    /// <summary>One nibble of each of 32 bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<byte> HalfNibbles(byte* at, bool high)
    {
        var packed = Vector256.Load(at);
        return (high ? (packed.AsUInt16() >>> 4).AsByte() : packed) & Vector256.Create((byte)0xf);
    }

    /// <summary>32 bits to 32 bytes of 16 or 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static Vector256<byte> FifthBits(byte* at)
    {
        var spread = Vector256.Create(
            Vector128.Create(Vector64.Create(at[0]), Vector64.Create(at[1])),
            Vector128.Create(Vector64.Create(at[2]), Vector64.Create(at[3])));
        var bit = Vector256.Create(0x8040201008040201UL).AsByte();
        return Vector256.Equals(spread & bit, bit) & Vector256.Create((byte)16);
    }

    /// <summary>Six bits of scale and of minimum for one of eight groups, from twelve bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static (int Scale, int Minimum) ScaleAndMinimum(byte* packed, int group) => group < 4
        ? (packed[group] & 63, packed[group + 4] & 63)
        : ((packed[group + 4] & 0xf) | (packed[group - 4] >> 6 << 4), (packed[group + 4] >> 4) | (packed[group] >> 6 << 4));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Scale(Vector256<sbyte> values, float scale, float* destination) => Scale(values, scale, scale, destination);

    /// <summary>32 values; the first 16 have their own scale.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void Scale(Vector256<sbyte> values, float firstScale, float secondScale, float* destination)
    {
        Vector256<float> first = Vector256.Create(firstScale), second = Vector256.Create(secondScale);
        var (shorts0, shorts1) = Vector256.Widen(values);
        var (ints0, ints1) = Vector256.Widen(shorts0);
        var (ints2, ints3) = Vector256.Widen(shorts1);
        (Vector256.ConvertToSingle(ints0) * first).Store(destination);
        (Vector256.ConvertToSingle(ints1) * first).Store(destination + 8);
        (Vector256.ConvertToSingle(ints2) * second).Store(destination + 16);
        (Vector256.ConvertToSingle(ints3) * second).Store(destination + 24);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static void ScaleAndAdd(Vector256<byte> values, float scale, float offset, float* destination)
    {
        Vector256<float> factor = Vector256.Create(scale), addend = Vector256.Create(offset);
        var (shorts0, shorts1) = Vector256.Widen(values);
        var (ints0, ints1) = Vector256.Widen(shorts0);
        var (ints2, ints3) = Vector256.Widen(shorts1);
        ((Vector256.ConvertToSingle(ints0.AsInt32()) * factor) + addend).Store(destination);
        ((Vector256.ConvertToSingle(ints1.AsInt32()) * factor) + addend).Store(destination + 8);
        ((Vector256.ConvertToSingle(ints2.AsInt32()) * factor) + addend).Store(destination + 16);
        ((Vector256.ConvertToSingle(ints3.AsInt32()) * factor) + addend).Store(destination + 24);
    }
}
