using System.Numerics;

namespace MetaQuery.Imaging;

/// <summary>PNG's five row filters (PNG 1.2, section 6), forth and back.</summary>
internal static class PngFilters
{
    public const int Count = 5;

    /// <summary>Filters a row, vectorised: every output byte depends on input bytes alone.</summary>
    /// <param name="filter">0 to 4: none, sub, up, average, Paeth.</param>
    /// <param name="row">The row, with <paramref name="bytesPerPixel"/> zeros before it: [bytesPerPixel + stride].</param>
    /// <param name="above">The row above in the same form; zeros for the first row.</param>
    /// <param name="bytesPerPixel">Distance to the sample on the left.</param>
    /// <param name="output">[stride]</param>
    public static void Apply(int filter, ReadOnlySpan<byte> row, ReadOnlySpan<byte> above, int bytesPerPixel, Span<byte> output)
    {
        ReadOnlySpan<byte> x = row[bytesPerPixel..];
        ReadOnlySpan<byte> left = row[..^bytesPerPixel];
        ReadOnlySpan<byte> up = above[bytesPerPixel..];
        ReadOnlySpan<byte> upLeft = above[..^bytesPerPixel];
        int width = Vector<byte>.Count;
        int i = 0;
        for (; i <= output.Length - width; i += width)
        {
            var vx = new Vector<byte>(x[i..]);
            Vector<byte> result = filter switch
            {
                0 => vx,
                1 => vx - new Vector<byte>(left[i..]),
                2 => vx - new Vector<byte>(up[i..]),
                3 => vx - Average(new Vector<byte>(left[i..]), new Vector<byte>(up[i..])),
                _ => vx - Paeth(new Vector<byte>(left[i..]), new Vector<byte>(up[i..]), new Vector<byte>(upLeft[i..])),
            };
            result.CopyTo(output[i..]);
        }

        for (; i < output.Length; i++)
        {
            output[i] = (byte)(x[i] - Predict(filter, left[i], up[i], upLeft[i]));
        }
    }

    /// <summary>The sum of the bytes' distances from zero as signed numbers: the usual guess of how well a row will compress.</summary>
    public static long Cost(ReadOnlySpan<byte> filtered)
    {
        long sum = 0;
        int width = Vector<byte>.Count;
        int i = 0;
        Vector<ulong> total = Vector<ulong>.Zero;
        while (i <= filtered.Length - width)
        {
            // 255 vectors of at most 128 a lane fill a 16-bit lane
            Vector<ushort> part = Vector<ushort>.Zero;
            for (int step = 0; step < 255 && i <= filtered.Length - width; step++, i += width)
            {
                Vector<sbyte> value = Vector.AsVectorSByte(new Vector<byte>(filtered[i..]));
                Vector<byte> distance = Vector.AsVectorByte(Vector.Max(value, -value)); // -128 stays 0x80 = 128 unsigned
                Vector.Widen(distance, out Vector<ushort> low, out Vector<ushort> high);
                part += low + high;
            }

            Vector.Widen(part, out Vector<uint> a, out Vector<uint> b);
            Vector.Widen(a + b, out Vector<ulong> c, out Vector<ulong> d);
            total += c + d;
        }

        sum += (long)Vector.Sum(total);
        for (; i < filtered.Length; i++)
        {
            sum += Math.Abs((int)(sbyte)filtered[i]);
        }

        return sum;
    }

    /// <summary>Undoes a filter in place.</summary>
    /// <param name="filter">0 to 4.</param>
    /// <param name="row">[stride], filtered; becomes the samples.</param>
    /// <param name="above">[stride], the samples of the row above; zeros for the first row.</param>
    /// <param name="bytesPerPixel">Whole bytes to the sample on the left, at least 1.</param>
    public static void Undo(int filter, Span<byte> row, ReadOnlySpan<byte> above, int bytesPerPixel)
    {
        switch (filter)
        {
            case 0:
                break;
            case 2:
                AddTo(row, above);
                break;
            case 1:
                for (int i = bytesPerPixel; i < row.Length; i++)
                {
                    row[i] += row[i - bytesPerPixel];
                }

                break;
            case 3:
                for (int i = 0; i < row.Length; i++)
                {
                    int left = i < bytesPerPixel ? 0 : row[i - bytesPerPixel];
                    row[i] += (byte)((left + above[i]) >> 1);
                }

                break;
            default:
                int first = Math.Min(bytesPerPixel, row.Length);
                AddTo(row[..first], above[..first]); // with nothing on the left Paeth's choice is the sample above
                for (int i = first; i < row.Length; i++)
                {
                    row[i] += (byte)Paeth(row[i - bytesPerPixel], above[i], above[i - bytesPerPixel]);
                }

                break;
        }
    }

    private static void AddTo(Span<byte> row, ReadOnlySpan<byte> above)
    {
        int width = Vector<byte>.Count;
        int i = 0;
        for (; i <= row.Length - width; i += width)
        {
            (new Vector<byte>(row[i..]) + new Vector<byte>(above[i..])).CopyTo(row[i..]);
        }

        for (; i < row.Length; i++)
        {
            row[i] += above[i];
        }
    }

    private static int Predict(int filter, int left, int up, int upLeft) => filter switch
    {
        0 => 0,
        1 => left,
        2 => up,
        3 => (left + up) >> 1,
        _ => Paeth(left, up, upLeft),
    };

    private static int Paeth(int left, int up, int upLeft)
    {
        int toLeft = Math.Abs(up - upLeft);
        int toUp = Math.Abs(left - upLeft);
        int toUpLeft = Math.Abs(left + up - upLeft - upLeft);
        return toLeft <= toUp && toLeft <= toUpLeft ? left : toUp <= toUpLeft ? up : upLeft;
    }

    /// <summary>floor((a + b) / 2) without a ninth bit.</summary>
    private static Vector<byte> Average(Vector<byte> a, Vector<byte> b) =>
        (a & b) + (Vector.ShiftRightLogical(Vector.AsVectorUInt16(a ^ b), 1).As<ushort, byte>() & new Vector<byte>(0x7F));

    private static Vector<byte> Paeth(Vector<byte> left, Vector<byte> up, Vector<byte> upLeft)
    {
        Vector.Widen(left, out Vector<ushort> leftLow, out Vector<ushort> leftHigh);
        Vector.Widen(up, out Vector<ushort> upLow, out Vector<ushort> upHigh);
        Vector.Widen(upLeft, out Vector<ushort> cornerLow, out Vector<ushort> cornerHigh);
        return Vector.Narrow(
            Vector.AsVectorUInt16(Paeth(Vector.AsVectorInt16(leftLow), Vector.AsVectorInt16(upLow), Vector.AsVectorInt16(cornerLow))),
            Vector.AsVectorUInt16(Paeth(Vector.AsVectorInt16(leftHigh), Vector.AsVectorInt16(upHigh), Vector.AsVectorInt16(cornerHigh))));
    }

    private static Vector<short> Paeth(Vector<short> left, Vector<short> up, Vector<short> upLeft)
    {
        Vector<short> p = up - upLeft;
        Vector<short> q = left - upLeft;
        Vector<short> toLeft = Vector.Abs(p);
        Vector<short> toUp = Vector.Abs(q);
        Vector<short> toUpLeft = Vector.Abs(p + q);
        Vector<short> takeLeft = Vector.LessThanOrEqual(toLeft, toUp) & Vector.LessThanOrEqual(toLeft, toUpLeft);
        Vector<short> takeUp = Vector.LessThanOrEqual(toUp, toUpLeft);
        return Vector.ConditionalSelect(takeLeft, left, Vector.ConditionalSelect(takeUp, up, upLeft));
    }
}
