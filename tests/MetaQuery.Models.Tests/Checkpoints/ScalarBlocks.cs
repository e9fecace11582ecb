namespace MetaQuery.Models.Tests.Checkpoints;

/// <summary>The quantised blocks decoded one element at a time, as the formulas of ggml's <c>dequantize_row_*</c> read. Slow and plain: what
/// the vectorised decoder must equal, bit for bit.</summary>
static class ScalarBlocks
{
    public static float[] Decode(string type, ReadOnlySpan<byte> blocks)
    {
        var (_, elements, bytes) = GgufBuilder.Types[type];
        var values = new float[blocks.Length / bytes * elements];
        for (int block = 0; block < blocks.Length / bytes; block++)
            Block(type, blocks.Slice(block * bytes, bytes), values.AsSpan(block * elements, elements));
        return values;
    }

    static void Block(string type, ReadOnlySpan<byte> b, Span<float> y)
    {
        switch (type)
        {
            case "Q8_0":
                for (int i = 0; i < 32; i++)
                    y[i] = Half(b) * (sbyte)b[2 + i];
                break;
            case "Q4_0":
                for (int i = 0; i < 32; i++)
                    y[i] = Half(b) * (Nibble(b[2..], i) - 8);
                break;
            case "Q4_1":
                for (int i = 0; i < 32; i++)
                    y[i] = Sum(Half(b) * Nibble(b[4..], i), Half(b[2..]));
                break;
            case "Q5_0":
                for (int i = 0; i < 32; i++)
                    y[i] = Half(b) * ((Nibble(b[6..], i) | (Bit(b[2..], i) << 4)) - 16);
                break;
            case "Q5_1":
                for (int i = 0; i < 32; i++)
                    y[i] = Sum(Half(b) * (Nibble(b[8..], i) | (Bit(b[4..], i) << 4)), Half(b[2..]));
                break;
            case "Q4_K":
                for (int i = 0; i < 256; i++)
                    y[i] = KValue(b, i, (b[16 + (i / 64 * 32) + (i % 32)] >> (i / 32 % 2 * 4)) & 15);
                break;
            case "Q5_K":
                for (int i = 0; i < 256; i++)
                    y[i] = KValue(b, i, ((b[48 + (i / 64 * 32) + (i % 32)] >> (i / 32 % 2 * 4)) & 15) | (((b[16 + (i % 32)] >> (i / 32)) & 1) << 4));
                break;
            case "Q6_K":
                for (int i = 0; i < 256; i++)
                {
                    int half = i / 128, group = i % 128 / 32, at = i % 32;
                    int low = (b[(half * 64) + (group % 2 * 32) + at] >> (group / 2 * 4)) & 15, high = (b[128 + (half * 32) + at] >> (group * 2)) & 3;
                    float scale = Half(b[208..]) * (sbyte)b[192 + (half * 8) + (group * 2) + (at / 16)];
                    y[i] = scale * ((low | (high << 4)) - 32);
                }
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "no quantised type");
        }
    }

    static float KValue(ReadOnlySpan<byte> b, int i, int q)
    {
        int g = i / 32;
        var s = b[4..16];
        int scale = g < 4 ? s[g] & 63 : (s[g + 4] & 15) | (s[g - 4] >> 6 << 4);
        int minimum = g < 4 ? s[g + 4] & 63 : (s[g + 4] >> 4) | (s[g] >> 6 << 4);
        float scaled = Half(b) * scale * q, offset = Half(b[2..]) * minimum;
        return scaled - offset;
    }

    static float Sum(float a, float b) => a + b;

    static int Nibble(ReadOnlySpan<byte> packed, int i) => (packed[i % 16] >> (i / 16 * 4)) & 15;

    static int Bit(ReadOnlySpan<byte> bits, int i) => (bits[i / 8] >> (i % 8)) & 1;

    static float Half(ReadOnlySpan<byte> at) => (float)BitConverter.UInt16BitsToHalf(BitConverter.ToUInt16(at));
}
