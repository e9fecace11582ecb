namespace MetaQuery.Imaging;

/// <summary>A canonical prefix code with a longest length (RFC 1951, 3.2.2).</summary>
internal sealed class HuffmanCode(int symbols, int maxLength)
{
    private readonly long[] _order = new long[symbols]; // frequency << 16 | symbol
    private readonly int[] _counts = new int[64];

    /// <summary>Bits of each symbol's code; 0 for a symbol that has none.</summary>
    public byte[] Lengths { get; } = new byte[symbols];

    /// <summary>The codes with their bits turned round, as deflate writes them.</summary>
    public ushort[] Codes { get; } = new ushort[symbols];

    /// <summary>Makes the code for these frequencies. Two symbols at least get a code: some decoders refuse a code of one.</summary>
    public void Build(ReadOnlySpan<int> frequencies)
    {
        Array.Clear(Lengths);
        int used = 0;
        for (int symbol = 0; symbol < frequencies.Length; symbol++)
        {
            if (frequencies[symbol] > 0)
            {
                _order[used++] = ((long)frequencies[symbol] << 16) | (uint)symbol;
            }
        }

        for (int symbol = 0; used < 2; symbol++)
        {
            if (frequencies[symbol] == 0)
            {
                _order[used++] = (1L << 16) | (uint)symbol;
            }
        }

        // ties fall by symbol: the same frequencies give the same code everywhere
        Span<long> order = _order.AsSpan(0, used);
        order.Sort();
        CountLengths(order);
        LimitLengths(used);
        int at = 0;
        for (int length = maxLength; length >= 1; length--)
        {
            for (int i = 0; i < _counts[length]; i++)
            {
                Lengths[(int)(order[at++] & 0xFFFF)] = (byte)length;
            }
        }

        AssignCodes();
    }

    /// <summary>Takes lengths as they are given: the fixed code of RFC 1951, 3.2.6.</summary>
    public void Set(ReadOnlySpan<byte> lengths)
    {
        lengths.CopyTo(Lengths);
        AssignCodes();
    }

    /// <summary>Huffman's construction with two queues: leaves in order, and inner nodes, which come out in order by themselves.</summary>
    private void CountLengths(ReadOnlySpan<long> order)
    {
        int leaves = order.Length;
        var weights = new long[(2 * leaves) - 1];
        var parents = new int[(2 * leaves) - 1];
        for (int i = 0; i < leaves; i++)
        {
            weights[i] = order[i] >> 16;
        }

        int leaf = 0, inner = leaves;
        for (int next = leaves; next < weights.Length; next++)
        {
            for (int child = 0; child < 2; child++)
            {
                int least = leaf < leaves && (inner >= next || weights[leaf] <= weights[inner]) ? leaf++ : inner++;
                weights[next] += weights[least];
                parents[least] = next;
            }
        }

        Array.Clear(_counts);
        var depths = new int[weights.Length];
        for (int i = weights.Length - 2; i >= 0; i--)
        {
            depths[i] = depths[parents[i]] + 1;
            if (i < leaves)
            {
                _counts[depths[i]]++; // at most 33 levels: the weights sum to less than 2^20
            }
        }
    }

    /// <summary>Moves codes that are too long up, and makes room for them by moving others one down, until the code is whole again.</summary>
    private void LimitLengths(int used)
    {
        for (int length = maxLength + 1; length < _counts.Length; length++)
        {
            _counts[maxLength] += _counts[length];
            _counts[length] = 0;
        }

        long total = 0;
        for (int length = maxLength; length >= 1; length--)
        {
            total += (long)_counts[length] << (maxLength - length);
        }

        for (; total > 1L << maxLength; total--)
        {
            _counts[maxLength]--;
            for (int length = maxLength - 1; length >= 1; length--)
            {
                if (_counts[length] > 0)
                {
                    _counts[length]--;
                    _counts[length + 1] += 2;
                    break;
                }
            }
        }

        System.Diagnostics.Debug.Assert(_counts.Sum() == used, "every symbol has a length");
    }

    private void AssignCodes()
    {
        Span<int> next = stackalloc int[17];
        Span<int> counts = stackalloc int[17];
        foreach (byte length in Lengths)
        {
            counts[length]++;
        }

        counts[0] = 0;
        for (int length = 1, code = 0; length <= 16; length++)
        {
            code = (code + counts[length - 1]) << 1;
            next[length] = code;
        }

        for (int symbol = 0; symbol < Lengths.Length; symbol++)
        {
            int length = Lengths[symbol];
            if (length > 0)
            {
                int code = next[length]++;
                int turned = 0;
                for (int bit = 0; bit < length; bit++)
                {
                    turned |= ((code >> bit) & 1) << (length - 1 - bit);
                }

                Codes[symbol] = (ushort)turned;
            }
        }
    }
}
