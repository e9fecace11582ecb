using System.Numerics;

namespace MetaQuery.Imaging;

/// <summary>Collects literals and matches, and writes them as whichever kind of block is smallest: dynamic, fixed or stored (RFC 1951, 3.2.3).</summary>
internal sealed class DeflateBlock
{
    private const int MaxTokens = 1 << 15;
    private const int EndOfBlock = 256;
    private const int MaxStored = 65_535;

    private static readonly HuffmanCode FixedLiterals = MakeFixed(288, static symbol => symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8);
    private static readonly HuffmanCode FixedDistances = MakeFixed(30, static _ => 5);

    /// <summary>RFC 1951, 3.2.5, as first length and extra bits of the codes 257 to 285.</summary>
    private static readonly ushort[] LengthBases = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
    private static readonly byte[] LengthExtras = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
    private static readonly byte[] LengthCodes = MakeLengthCodes();

    /// <summary>RFC 1951, 3.2.7.</summary>
    private static readonly byte[] CodeLengthOrder = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

    private readonly uint[] _tokens = new uint[MaxTokens]; // distance << 16 | length, or a literal
    private readonly int[] _literalCounts = new int[286];
    private readonly int[] _distanceCounts = new int[30];
    private readonly int[] _codeLengthCounts = new int[19];
    private readonly List<(byte Symbol, byte Extra)> _codeLengths = [];
    private readonly HuffmanCode _literals = new(286, 15);
    private readonly HuffmanCode _distances = new(30, 15);
    private readonly HuffmanCode _codeLengthCode = new(19, 7);
    private int _count;

    public bool IsFull => _count == MaxTokens;

    public void AddLiteral(byte value)
    {
        _tokens[_count++] = value;
        _literalCounts[value]++;
    }

    /// <param name="length">3 to 258.</param>
    /// <param name="distance">1 to 32,768.</param>
    public void AddMatch(int length, int distance)
    {
        _tokens[_count++] = ((uint)distance << 16) | (uint)length;
        _literalCounts[257 + LengthCodes[length]]++;
        _distanceCounts[DistanceCode(distance)]++;
    }

    /// <summary>Writes the block and begins a new one.</summary>
    /// <param name="output">Where to.</param>
    /// <param name="source">The bytes that the block stands for.</param>
    /// <param name="final">The stream's last block.</param>
    public void Flush(BitWriter output, ReadOnlySpan<byte> source, bool final)
    {
        _literalCounts[EndOfBlock] = 1;
        _literals.Build(_literalCounts);
        _distances.Build(_distanceCounts);
        (int literals, int distances, int codeLengths, long headerBits) = PlanHeader();

        long extraBits = ExtraBits();
        long dynamicBits = headerBits + Bits(_literals, _distances) + extraBits;
        long fixedBits = Bits(FixedLiterals, FixedDistances) + extraBits;
        long storedBits = ((source.Length + MaxStored - 1) / MaxStored * 40L) + 7 + (source.Length * 8L);
        if (storedBits < Math.Min(dynamicBits, fixedBits) && source.Length > 0)
        {
            WriteStored(output, source, final);
        }
        else
        {
            bool dynamic = dynamicBits < fixedBits;
            output.Write((final ? 1u : 0) | (dynamic ? 4u : 2), 3);
            if (dynamic)
            {
                WriteHeader(output, literals, distances, codeLengths);
            }

            WriteTokens(output, dynamic ? _literals : FixedLiterals, dynamic ? _distances : FixedDistances);
        }

        _count = 0;
        Array.Clear(_literalCounts);
        Array.Clear(_distanceCounts);
    }

    private void WriteTokens(BitWriter output, HuffmanCode literals, HuffmanCode distances)
    {
        foreach (uint token in _tokens.AsSpan(0, _count))
        {
            int distance = (int)(token >> 16);
            if (distance == 0)
            {
                output.Write(literals.Codes[token], literals.Lengths[token]);
                continue;
            }

            int length = (int)(token & 0xFFFF);
            int code = LengthCodes[length];
            output.Write(literals.Codes[257 + code], literals.Lengths[257 + code]);
            output.Write((uint)(length - LengthBases[code]), LengthExtras[code]);
            int distanceCode = DistanceCode(distance);
            output.Write(distances.Codes[distanceCode], distances.Lengths[distanceCode]);
            int extra = DistanceExtra(distanceCode);
            output.Write((uint)(distance - 1) & ((1u << extra) - 1), extra);
        }

        output.Write(literals.Codes[EndOfBlock], literals.Lengths[EndOfBlock]);
    }

    private static void WriteStored(BitWriter output, ReadOnlySpan<byte> source, bool final)
    {
        while (!source.IsEmpty)
        {
            ReadOnlySpan<byte> piece = source[..Math.Min(MaxStored, source.Length)];
            source = source[piece.Length..];
            output.Write(final && source.IsEmpty ? 1u : 0, 3);
            output.AlignToByte();
            ushort length = (ushort)piece.Length;
            ushort complement = (ushort)~length;
            output.WriteBytes([(byte)length, (byte)(length >> 8), (byte)complement, (byte)(complement >> 8)]);
            output.WriteBytes(piece);
        }
    }

    /// <summary>Run-length codes of the two codes' lengths (RFC 1951, 3.2.7) and what they will take.</summary>
    private (int Literals, int Distances, int CodeLengths, long Bits) PlanHeader()
    {
        int literals = Math.Max(257, LastUsed(_literals.Lengths) + 1);
        int distances = Math.Max(1, LastUsed(_distances.Lengths) + 1);
        Span<byte> lengths = stackalloc byte[286 + 30];
        _literals.Lengths.AsSpan(0, literals).CopyTo(lengths);
        _distances.Lengths.AsSpan(0, distances).CopyTo(lengths[literals..]);
        lengths = lengths[..(literals + distances)];

        Array.Clear(_codeLengthCounts);
        _codeLengths.Clear();
        for (int i = 0; i < lengths.Length;)
        {
            byte value = lengths[i];
            int run = 1;
            while (i + run < lengths.Length && lengths[i + run] == value)
            {
                run++;
            }

            i += run;
            AddRun(value, run);
        }

        _codeLengthCode.Build(_codeLengthCounts);
        int codes = 19;
        while (codes > 4 && _codeLengthCode.Lengths[CodeLengthOrder[codes - 1]] == 0)
        {
            codes--;
        }

        long bits = 3 + 14 + (3 * codes);
        foreach ((byte symbol, _) in _codeLengths)
        {
            bits += _codeLengthCode.Lengths[symbol] + RunExtraBits(symbol);
        }

        return (literals, distances, codes, bits);
    }

    private void AddRun(byte value, int run)
    {
        if (value != 0)
        {
            AddCodeLength(value, 0);
            run--;
        }

        while (run > 0)
        {
            (byte symbol, int least, int most) = value != 0 ? ((byte)16, 3, 6) : run >= 11 ? ((byte)18, 11, 138) : ((byte)17, 3, 10);
            if (run < least)
            {
                AddCodeLength(value, 0);
                run--;
                continue;
            }

            int taken = Math.Min(run, most);
            AddCodeLength(symbol, (byte)(taken - least));
            run -= taken;
        }
    }

    private void AddCodeLength(byte symbol, byte extra)
    {
        _codeLengths.Add((symbol, extra));
        _codeLengthCounts[symbol]++;
    }

    private void WriteHeader(BitWriter output, int literals, int distances, int codeLengths)
    {
        output.Write((uint)(literals - 257), 5);
        output.Write((uint)(distances - 1), 5);
        output.Write((uint)(codeLengths - 4), 4);
        foreach (byte symbol in CodeLengthOrder.AsSpan(0, codeLengths))
        {
            output.Write(_codeLengthCode.Lengths[symbol], 3);
        }

        foreach ((byte symbol, byte extra) in _codeLengths)
        {
            output.Write(_codeLengthCode.Codes[symbol], _codeLengthCode.Lengths[symbol]);
            output.Write(extra, RunExtraBits(symbol));
        }
    }

    private long Bits(HuffmanCode literals, HuffmanCode distances)
    {
        long bits = 3;
        for (int symbol = 0; symbol < _literalCounts.Length; symbol++)
        {
            bits += (long)_literalCounts[symbol] * literals.Lengths[symbol];
        }

        for (int symbol = 0; symbol < _distanceCounts.Length; symbol++)
        {
            bits += (long)_distanceCounts[symbol] * distances.Lengths[symbol];
        }

        return bits;
    }

    private long ExtraBits()
    {
        long bits = 0;
        for (int code = 0; code < LengthExtras.Length; code++)
        {
            bits += (long)_literalCounts[257 + code] * LengthExtras[code];
        }

        for (int code = 0; code < _distanceCounts.Length; code++)
        {
            bits += (long)_distanceCounts[code] * DistanceExtra(code);
        }

        return bits;
    }

    private static int RunExtraBits(byte symbol) => symbol switch { 16 => 2, 17 => 3, 18 => 7, _ => 0 };

    /// <summary>Codes come in pairs of equal width: the two highest bits of distance - 1, and how many bits follow.</summary>
    private static int DistanceCode(int distance)
    {
        int value = distance - 1;
        if (value < 4)
        {
            return value;
        }

        int top = BitOperations.Log2((uint)value);
        return (2 * top) + ((value >> (top - 1)) & 1);
    }

    private static int DistanceExtra(int code) => code < 4 ? 0 : (code >> 1) - 1;

    private static int LastUsed(byte[] lengths) => Array.FindLastIndex(lengths, static length => length != 0);

    private static byte[] MakeLengthCodes()
    {
        var codes = new byte[259];
        for (int length = 3, code = 0; length <= 258; length++)
        {
            while (code + 1 < LengthBases.Length && LengthBases[code + 1] <= length)
            {
                code++;
            }

            codes[length] = (byte)code;
        }

        return codes;
    }

    private static HuffmanCode MakeFixed(int symbols, Func<int, int> length)
    {
        var code = new HuffmanCode(symbols, 15);
        code.Set([.. Enumerable.Range(0, symbols).Select(symbol => (byte)length(symbol))]);
        return code;
    }
}
