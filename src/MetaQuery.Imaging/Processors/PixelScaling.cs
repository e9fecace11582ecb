namespace MetaQuery.Imaging;

/// <summary>How an image processor turns 8-bit samples into numbers (transformers' do_rescale and do_normalize): (sample · factor - mean) / deviation.</summary>
/// <param name="Factor">rescale_factor; 1 where nothing is rescaled.</param>
/// <param name="Mean">For red, green, blue.</param>
/// <param name="Deviation">For red, green, blue; never 0.</param>
public sealed record PixelScaling(double Factor, IReadOnlyList<float> Mean, IReadOnlyList<float> Deviation)
{
    /// <summary>What every value of a sample becomes, as the reference rounds: the product in double, then float32.</summary>
    /// <returns>256 numbers for the channel.</returns>
    /// <exception cref="ArgumentException">There are not three means and three deviations other than 0.</exception>
    public float[] Table(int channel)
    {
        if (Mean.Count != 3 || Deviation.Count != 3 || Deviation.Contains(0))
            throw new ArgumentException($"means [{string.Join(", ", Mean)}] and deviations [{string.Join(", ", Deviation)}], three of each are needed, no deviation 0");
        return [.. Enumerable.Range(0, 256).Select(sample => ((float)(sample * Factor) - Mean[channel]) / Deviation[channel])];
    }

    /// <returns>[3, height, width].</returns>
    public float[] ToPlanes(RgbImage image)
    {
        ArgumentNullException.ThrowIfNull(image);
        var planes = new float[image.Pixels.Length];
        ToPlanes(image, 0, 0, image.WidthPixels, image.HeightPixels, planes);
        return planes;
    }

    /// <summary>A rectangle of a picture.</summary>
    /// <param name="planes">[3, height, width].</param>
    internal void ToPlanes(RgbImage image, int left, int top, int width, int height, Span<float> planes)
    {
        for (var channel = 0; channel < 3; channel++)
        {
            ReadOnlySpan<float> values = Table(channel);
            for (var y = 0; y < height; y++)
            {
                ReadOnlySpan<byte> row = image.Row(top + y).Slice((left * 3) + channel);
                var target = planes.Slice(((channel * height) + y) * width, width);
                for (var x = 0; x < target.Length; x++)
                    target[x] = values[row[x * 3]];
            }
        }
    }
}

/// <summary>What an image processor makes of a picture for a vision tower.</summary>
/// <param name="Values">Numbers in the order of <paramref name="Shape"/>.</param>
/// <param name="Shape">Outermost first.</param>
/// <param name="Rows">Patches or tiles from top to bottom.</param>
/// <param name="Columns">From left to right.</param>
/// <param name="HeightPixels">Of the picture as it came.</param>
/// <param name="WidthPixels">Of the picture as it came.</param>
public sealed record ProcessedImage(float[] Values, IReadOnlyList<long> Shape, int Rows, int Columns, int HeightPixels, int WidthPixels);

/// <summary>A model's own way from a picture to its vision tower's input. Immutable.</summary>
public interface IImageProcessor
{
    /// <summary>Whether a picture of this size is taken; reads no picture.</summary>
    /// <exception cref="ImageFormatException">It is refused.</exception>
    void Check(int heightPixels, int widthPixels);

    /// <exception cref="ImageFormatException">The model's processor refuses a picture of these proportions or this size.</exception>
    ProcessedImage Process(RgbImage image);
}
