namespace MetaQuery.Models.Checkpoints;

/// <summary>The float8 types as tables of their 256 values ("FP8 Formats for Deep Learning", arXiv 2209.05433; E8M0: OCP Microscaling 1.0).</summary>
static unsafe class Float8
{
    static readonly float[] E4M3Values = Table(static code => Decode(code, exponentBits: 4, mantissaBits: 3, hasInfinities: false));
    static readonly float[] E5M2Values = Table(static code => Decode(code, exponentBits: 5, mantissaBits: 2, hasInfinities: true));
    static readonly float[] E8M0Values = Table(static code => code == 0xff ? float.NaN : MathF.ScaleB(1, code - 127));

    public static void Decode(SafetensorsDtype dtype, byte* source, float* destination, long count)
    {
        float[] values = dtype switch
        {
            SafetensorsDtype.Float8E4M3 => E4M3Values,
            SafetensorsDtype.Float8E5M2 => E5M2Values,
            SafetensorsDtype.Float8E8M0 => E8M0Values,
            _ => throw new ArgumentOutOfRangeException(nameof(dtype), dtype, "no float8 type"),
        };
        fixed (float* table = values)
        {
            for (long i = 0; i < count; i++)
                destination[i] = table[source[i]];
        }
    }

    static float[] Table(Func<int, float> decode) => [.. Enumerable.Range(0, 256).Select(decode)];

    static float Decode(int code, int exponentBits, int mantissaBits, bool hasInfinities)
    {
        int mantissaMask = (1 << mantissaBits) - 1, largestExponent = (1 << exponentBits) - 1, bias = largestExponent >> 1;
        int exponent = (code >> mantissaBits) & largestExponent, mantissa = code & mantissaMask;
        float magnitude;
        if (exponent == largestExponent && hasInfinities)
            magnitude = mantissa == 0 ? float.PositiveInfinity : float.NaN;
        else if (exponent == largestExponent && mantissa == mantissaMask) // the "fn" kind: no infinities, one NaN per sign
            magnitude = float.NaN;
        else if (exponent == 0)
            magnitude = MathF.ScaleB(mantissa, 1 - bias - mantissaBits);
        else
            magnitude = MathF.ScaleB(mantissa + mantissaMask + 1, exponent - bias - mantissaBits);
        return code >= 0x80 ? -magnitude : magnitude;
    }
}
