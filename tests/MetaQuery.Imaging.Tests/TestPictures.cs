namespace MetaQuery.Imaging.Tests;

internal static class TestPictures
{
    /// <summary>Slopes, flat parts and a little noise: something like a photograph to an encoder.</summary>
    public static RgbImage Photo(int width, int height, int seed = 1)
    {
        var image = new RgbImage(width, height);
        var random = new Random(seed);
        for (int y = 0; y < height; y++)
        {
            Span<byte> row = image.Row(y);
            for (int x = 0; x < width; x++)
            {
                bool inside = ((x - (width / 2)) * (x - (width / 2))) + ((y - (height / 2)) * (y - (height / 2))) < width * height / 9;
                row[x * 3] = (byte)Math.Clamp((x * 255 / width) + random.Next(-3, 4), 0, 255);
                row[(x * 3) + 1] = (byte)Math.Clamp((inside ? 200 : y * 255 / height) + random.Next(-3, 4), 0, 255);
                row[(x * 3) + 2] = inside ? (byte)40 : (byte)230;
            }
        }

        return image;
    }

    /// <summary>A picture of any size up to 40 × 40 whose samples are made from bytes at hand, repeated.</summary>
    public static RgbImage From(byte[] bytes, byte width, byte height)
    {
        var image = new RgbImage((width % 40) + 1, (height % 40) + 1);
        for (int i = 0; bytes.Length > 0 && i < image.Pixels.Length; i++)
        {
            image.Pixels[i] = (byte)(bytes[i % bytes.Length] + (i / 50));
        }

        return image;
    }
}
