using System.Numerics;
using System.Runtime.Intrinsics;

namespace MetaQuery.Imaging;

/// <summary>
/// Pillow 11's <c>Image.resize</c> for 8-bit RGB, exact to the last bit: separable, the horizontal pass always first, support widened when
/// shrinking, weights of 22 fractional bits, rounding and clipping to 8 bits after each pass (Pillow 11.1, src/libImaging/Resample.c).
/// </summary>
public static class PillowResize
{
    private const int PrecisionBits = 32 - 8 - 2; // Resample.c: 8 bits of sample, 2 for the lobes beyond one

    /// <summary>Resizes; a pass whose size does not change is left out, so the same size gives a copy.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A side is not in 1 to <see cref="RgbImage.MaxSidePixels"/>.</exception>
    public static RgbImage Resize(RgbImage image, int widthPixels, int heightPixels, ResampleFilter filter)
    {
        ArgumentNullException.ThrowIfNull(image);
        var result = new RgbImage(widthPixels, heightPixels);
        ResampleWeights? vertical = heightPixels == image.HeightPixels ? null : ResampleWeights.Create(image.HeightPixels, heightPixels, filter);
        RgbImage between = image;
        if (widthPixels != image.WidthPixels)
        {
            between = vertical is null ? result : new RgbImage(widthPixels, image.HeightPixels);
            Horizontal(image, between, ResampleWeights.Create(image.WidthPixels, widthPixels, filter));
        }

        if (vertical is not null)
        {
            Vertical(between, result, vertical);
        }
        else if (ReferenceEquals(between, image))
        {
            image.Pixels.CopyTo(result.Pixels, 0);
        }

        return result;
    }

    private static void Horizontal(RgbImage source, RgbImage target, ResampleWeights weights)
    {
        // a vector of four holds a pixel and one sample of the next: the last pixel needs a byte behind it
        byte[] padded = new byte[source.StrideBytes + 1];
        for (int y = 0; y < source.HeightPixels; y++)
        {
            source.Row(y).CopyTo(padded);
            Span<byte> output = target.Row(y);
            for (int x = 0; x < target.WidthPixels; x++)
            {
                ReadOnlySpan<int> taps = weights.At(x, out int first);
                ReadOnlySpan<byte> input = padded.AsSpan(first * 3);
                Vector128<int> sum = Vector128.Create(1 << (PrecisionBits - 1));
                for (int i = 0; i < taps.Length; i++)
                {
                    uint pixel = System.Buffers.Binary.BinaryPrimitives.ReadUInt32LittleEndian(input[(i * 3)..]);
                    sum += Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalar(pixel).AsByte())).AsInt32() * taps[i];
                }

                sum = Vector128.Max(Vector128.Min(sum >> PrecisionBits, Vector128.Create(255)), Vector128<int>.Zero);
                output[x * 3] = (byte)sum[0];
                output[(x * 3) + 1] = (byte)sum[1];
                output[(x * 3) + 2] = (byte)sum[2];
            }
        }
    }

    private static void Vertical(RgbImage source, RgbImage target, ResampleWeights weights)
    {
        int stride = source.StrideBytes;
        int step = Vector<byte>.Count;
        for (int y = 0; y < target.HeightPixels; y++)
        {
            ReadOnlySpan<int> taps = weights.At(y, out int first);
            ReadOnlySpan<byte> input = source.Pixels.AsSpan(first * stride);
            Span<byte> output = target.Row(y);
            int x = 0;
            for (; x <= stride - step; x += step)
            {
                Vector<int> half = new(1 << (PrecisionBits - 1));
                Vector<int> a = half, b = half, c = half, d = half;
                for (int i = 0; i < taps.Length; i++)
                {
                    Vector.Widen(new Vector<byte>(input[((i * stride) + x)..]), out Vector<ushort> low, out Vector<ushort> high);
                    Vector.Widen(low, out Vector<uint> la, out Vector<uint> lb);
                    Vector.Widen(high, out Vector<uint> ha, out Vector<uint> hb);
                    var weight = new Vector<int>(taps[i]);
                    a += Vector.AsVectorInt32(la) * weight;
                    b += Vector.AsVectorInt32(lb) * weight;
                    c += Vector.AsVectorInt32(ha) * weight;
                    d += Vector.AsVectorInt32(hb) * weight;
                }

                Vector.Narrow(Vector.Narrow(Clip(a), Clip(b)), Vector.Narrow(Clip(c), Clip(d))).CopyTo(output[x..]);
            }

            for (; x < stride; x++)
            {
                int sum = 1 << (PrecisionBits - 1);
                for (int i = 0; i < taps.Length; i++)
                {
                    sum += input[(i * stride) + x] * taps[i];
                }

                output[x] = (byte)Math.Clamp(sum >> PrecisionBits, 0, 255);
            }
        }
    }

    private static Vector<uint> Clip(Vector<int> sum) =>
        Vector.AsVectorUInt32(Vector.Max(Vector.Min(Vector.ShiftRightArithmetic(sum, PrecisionBits), new Vector<int>(255)), Vector<int>.Zero));

    /// <summary>For each output sample, the first input sample and the weights, in fixed point.</summary>
    private sealed class ResampleWeights
    {
        private readonly int[] _first;
        private readonly int[] _counts;
        private readonly int[] _taps;
        private readonly int _most;

        private ResampleWeights(int outputs, int most)
        {
            _first = new int[outputs];
            _counts = new int[outputs];
            _taps = new int[checked(outputs * most)];
            _most = most;
        }

        public ReadOnlySpan<int> At(int output, out int first)
        {
            first = _first[output];
            return _taps.AsSpan(output * _most, _counts[output]);
        }

        public static ResampleWeights Create(int inputs, int outputs, ResampleFilter filter)
        {
            double scale = (double)inputs / outputs;
            double filterScale = Math.Max(scale, 1);
            double support = Support(filter) * filterScale;
            var weights = new ResampleWeights(outputs, ((int)Math.Ceiling(support) * 2) + 1);
            double[] values = new double[weights._most];
            for (int output = 0; output < outputs; output++)
            {
                double center = (output + 0.5) * scale;
                int first = Math.Max(0, (int)(center - support + 0.5));
                int count = Math.Min(inputs, (int)(center + support + 0.5)) - first;
                double sum = 0;
                for (int i = 0; i < count; i++)
                {
                    values[i] = Value(filter, (i + first - center + 0.5) * (1 / filterScale));
                    sum += values[i];
                }

                for (int i = 0; i < count; i++)
                {
                    double value = (sum != 0 ? values[i] / sum : values[i]) * (1 << PrecisionBits);
                    weights._taps[(output * weights._most) + i] = (int)(value < 0 ? value - 0.5 : value + 0.5);
                }

                weights._first[output] = first;
                weights._counts[output] = count;
            }

            return weights;
        }

        private static double Support(ResampleFilter filter) => filter switch
        {
            ResampleFilter.Bilinear => 1,
            ResampleFilter.Bicubic => 2,
            ResampleFilter.Lanczos => 3,
            _ => throw new ArgumentOutOfRangeException(nameof(filter), $"{filter} is not a filter known here"),
        };

        private static double Value(ResampleFilter filter, double x)
        {
            switch (filter)
            {
                case ResampleFilter.Bilinear:
                    x = Math.Abs(x);
                    return x < 1 ? 1 - x : 0;
                case ResampleFilter.Bicubic:
                    const double A = -0.5;
                    x = Math.Abs(x);
                    return x < 1 ? ((((A + 2) * x) - (A + 3)) * x * x) + 1
                        : x < 2 ? ((((x - 5) * x) + 8) * x - 4) * A
                        : 0;
                default:
                    return x is >= -3 and < 3 ? Sinc(x) * Sinc(x / 3) : 0;
            }
        }

        private static double Sinc(double x) => x == 0 ? 1 : Math.Sin(x * Math.PI) / (x * Math.PI);
    }
}

/// <summary>Pillow's resampling filters.</summary>
public enum ResampleFilter
{
    Bilinear,
    Bicubic,
    Lanczos,
}
