using System.Runtime.InteropServices;

namespace MetaQuery.Imaging.Tests;

/// <summary>libgd's PNG reader, pixel by pixel: an independent judge of the files written here.</summary>
internal static unsafe partial class GdPng
{
    public static RgbImage Decode(byte[] file)
    {
        fixed (byte* data = file)
        {
            nint image = FromPng(file.Length, data);
            Assert.NotEqual(0, image);
            (int width, int height) = (ImageDecoder.Identify(file).WidthPixels, ImageDecoder.Identify(file).HeightPixels);
            var copy = new RgbImage(width, height);
            for (int i = 0; i < width * height; i++)
            {
                int pixel = Pixel(image, i % width, i / width);
                (copy.Pixels[i * 3], copy.Pixels[(i * 3) + 1], copy.Pixels[(i * 3) + 2]) = ((byte)(pixel >> 16), (byte)(pixel >> 8), (byte)pixel);
            }

            Destroy(image);
            return copy;
        }
    }

    [LibraryImport("libgd.so.3", EntryPoint = "gdImageCreateFromPngPtr")]
    private static partial nint FromPng(int length, byte* data);

    [LibraryImport("libgd.so.3", EntryPoint = "gdImageGetTrueColorPixel")]
    private static partial int Pixel(nint image, int x, int y);

    [LibraryImport("libgd.so.3", EntryPoint = "gdImageDestroy")]
    private static partial void Destroy(nint image);
}
