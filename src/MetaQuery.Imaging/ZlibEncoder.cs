using System.Buffers.Binary;

namespace MetaQuery.Imaging;

/// <summary>
/// A zlib stream (RFC 1950, 1951) whose bytes depend on the input alone. The zlib inside .NET changes with the runtime's version and
/// takes other paths on other processors; shards are promised to be the same bytes everywhere, so pictures are packed here.
/// </summary>
/// <remarks>LZ77 over 32 KiB with hash chains and one step of lazy matching; Huffman codes for each block of 32,768 symbols.</remarks>
internal sealed class ZlibEncoder
{
    private const int WindowBytes = 1 << 15;
    private const int HashBits = 15;
    private const int MinMatch = 6; // in filtered rows shorter ones cost more than their literals: zlib's Z_FILTERED
    private const int HashedBytes = 4;
    private const int MaxMatch = 258;
    private const int ChainDepth = 32;
    private const int GoodMatch = 32; // long enough not to look for a better one at the next byte

    private readonly int[] _head = new int[1 << HashBits]; // positions plus one: 0 means none
    private readonly int[] _previous = new int[WindowBytes];
    private readonly BitWriter _output = new();
    private readonly DeflateBlock _block = new();

    /// <summary>Not thread-safe: one encoder per thread. The bytes are valid until the next call.</summary>
    public ReadOnlySpan<byte> Encode(ReadOnlySpan<byte> input)
    {
        _output.Reset();
        _output.WriteBytes([0x78, 0x9C]); // deflate with a window of 32 KiB; no dictionary
        Array.Clear(_head);
        Compress(input);
        Span<byte> check = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32BigEndian(check, Adler32(input));
        _output.AlignToByte();
        _output.WriteBytes(check);
        return _output.Written;
    }

    /// <summary>RFC 1950, section 8.2.</summary>
    internal static uint Adler32(ReadOnlySpan<byte> bytes)
    {
        const uint Modulus = 65521;
        const int Run = 5552; // the most bytes whose sums stay below 2^32
        uint a = 1, b = 0;
        while (!bytes.IsEmpty)
        {
            ReadOnlySpan<byte> run = bytes[..Math.Min(Run, bytes.Length)];
            foreach (byte value in run)
            {
                a += value;
                b += a;
            }

            a %= Modulus;
            b %= Modulus;
            bytes = bytes[run.Length..];
        }

        return (b << 16) | a;
    }

    private void Compress(ReadOnlySpan<byte> input)
    {
        int blockStart = 0;
        int at = 0;

        // of the byte before `at`: 0 it is written, 1 it waits as a literal, more: a match of that length waits that begins there
        int waiting = 0;
        int waitingDistance = 0;
        while (at < input.Length)
        {
            int distance = 0;
            int length = waiting < GoodMatch ? FindMatch(input, at, Math.Max(waiting, MinMatch - 1), out distance) : 0;
            Insert(input, at);
            if (waiting >= MinMatch && length == 0)
            {
                _block.AddMatch(waiting, waitingDistance);
                int end = at - 1 + waiting;
                for (at++; at < end; at++)
                {
                    Insert(input, at);
                }

                waiting = 0;
            }
            else
            {
                if (waiting != 0)
                {
                    _block.AddLiteral(input[at - 1]);
                }

                (waiting, waitingDistance) = length == 0 ? (1, 0) : (length, distance);
                at++;
            }

            if (_block.IsFull)
            {
                int covered = at - (waiting == 0 ? 0 : 1);
                _block.Flush(_output, input[blockStart..covered], final: false);
                blockStart = covered;
            }
        }

        if (waiting != 0)
        {
            _block.AddLiteral(input[^1]); // at the last byte only a literal can wait: a match needs more
        }

        _block.Flush(_output, input[blockStart..], final: true);
    }

    /// <returns>The longest match longer than <paramref name="shortest"/>, or 0.</returns>
    private int FindMatch(ReadOnlySpan<byte> input, int at, int shortest, out int distance)
    {
        distance = 0;
        int most = Math.Min(MaxMatch, input.Length - at);
        if (most <= shortest)
        {
            return 0;
        }

        ReadOnlySpan<byte> here = input.Slice(at, most);
        int best = shortest;
        int candidate = _head[Hash(input, at)] - 1;
        for (int depth = 0; depth < ChainDepth && candidate >= 0 && at - candidate < WindowBytes; depth++)
        {
            if (input[candidate + best] == here[best])
            {
                int length = here.CommonPrefixLength(input.Slice(candidate, most));
                if (length > best)
                {
                    (best, distance) = (length, at - candidate);
                    if (length == most)
                    {
                        break;
                    }
                }
            }

            candidate = _previous[candidate & (WindowBytes - 1)] - 1;
        }

        return distance == 0 ? 0 : best;
    }

    private void Insert(ReadOnlySpan<byte> input, int at)
    {
        if (at + HashedBytes <= input.Length)
        {
            ref int head = ref _head[Hash(input, at)];
            _previous[at & (WindowBytes - 1)] = head;
            head = at + 1;
        }
    }

    private static int Hash(ReadOnlySpan<byte> input, int at) =>
        (int)((BinaryPrimitives.ReadUInt32LittleEndian(input[at..]) * 0x9E3779B1u) >> (32 - HashBits));
}
