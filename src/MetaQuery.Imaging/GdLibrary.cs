using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace MetaQuery.Imaging;

/// <summary>The system's libgd (2.1 or newer, Debian: libgd3), for JPEG and WebP.</summary>
/// <remarks>Thread-safe: libgd keeps no state between calls but its error handler, which here writes to the calling thread's own field.</remarks>
internal sealed unsafe class GdLibrary
{
    private static readonly string[] Names = OperatingSystem.IsWindows() ? ["libgd.dll", "gd.dll"]
        : OperatingSystem.IsMacOS() ? ["libgd.3.dylib", "libgd.dylib"] : ["libgd.so.3", "libgd.so"];

    private static readonly Lazy<GdLibrary> Loaded = new(static () => new GdLibrary());

    [ThreadStatic]
    private static string? t_error;

    private readonly delegate* unmanaged<int, int, GdImage*> _create;
    private readonly delegate* unmanaged<GdImage*, void> _destroy;
    private readonly delegate* unmanaged<void*, void> _free;
    private readonly delegate* unmanaged<int, byte*, int, GdImage*> _fromJpeg;
    private readonly delegate* unmanaged<int, byte*, GdImage*> _fromWebp;
    private readonly delegate* unmanaged<GdImage*, int*, int, byte*> _toJpeg;
    private readonly delegate* unmanaged<GdImage*, int*, int, byte*> _toWebp;

    private GdLibrary()
    {
        nint library = Load();
        _create = (delegate* unmanaged<int, int, GdImage*>)Export(library, "gdImageCreateTrueColor");
        _destroy = (delegate* unmanaged<GdImage*, void>)Export(library, "gdImageDestroy");
        _free = (delegate* unmanaged<void*, void>)Export(library, "gdFree");
        _fromJpeg = (delegate* unmanaged<int, byte*, int, GdImage*>)Export(library, "gdImageCreateFromJpegPtrEx");
        _fromWebp = (delegate* unmanaged<int, byte*, GdImage*>)Export(library, "gdImageCreateFromWebpPtr");
        _toJpeg = (delegate* unmanaged<GdImage*, int*, int, byte*>)Export(library, "gdImageJpegPtr");
        _toWebp = (delegate* unmanaged<GdImage*, int*, int, byte*>)Export(library, "gdImageWebpPtrEx");
        var setError = (delegate* unmanaged<delegate* unmanaged<int, byte*, void*, void>, void>)Export(library, "gdSetErrorMethod");
        setError(&OnError);
        CheckLayout();
    }

    /// <exception cref="ImageLibraryException">There is no libgd, or it is of another layout.</exception>
    public static GdLibrary Instance => Loaded.Value;

    /// <summary>Decodes a JPEG or WebP whose header has been looked at and which reaches its end.</summary>
    public RgbImage Decode(ReadOnlySpan<byte> file, ImageHeader header)
    {
        GdImage* image;
        t_error = null;
        fixed (byte* data = file)
        {
            image = header.Format == ImageFormat.Webp ? _fromWebp(file.Length, data) : _fromJpeg(file.Length, data, 0);
        }

        if (image == null)
        {
            throw new ImageFormatException($"the {header.Format} is damaged{Reason()}");
        }

        try
        {
            // libjpeg fills what it cannot read with what it has and only warns
            if (t_error is not null && !IsHarmless(t_error))
            {
                throw new ImageFormatException($"the {header.Format} is damaged{Reason()}");
            }

            if (image->Width != header.WidthPixels || image->Height != header.HeightPixels || image->TrueColorPixels == null)
            {
                throw new ImageFormatException($"the {header.Format} says {header.WidthPixels} × {header.HeightPixels} pixels and holds {image->Width} × {image->Height}");
            }

            return Copy(image);
        }
        finally
        {
            _destroy(image);
        }
    }

    public byte[] EncodeJpeg(RgbImage image, int quality) => Encode(image, quality, _toJpeg, ImageFormat.Jpeg);

    public byte[] EncodeWebp(RgbImage image, int quality) => Encode(image, quality, _toWebp, ImageFormat.Webp);

    private byte[] Encode(RgbImage image, int quality, delegate* unmanaged<GdImage*, int*, int, byte*> encode, ImageFormat format)
    {
        ArgumentNullException.ThrowIfNull(image);
        if (quality is < 0 or > 100)
        {
            throw new ArgumentOutOfRangeException(nameof(quality), $"a quality of {quality} is not in 0 to 100");
        }

        t_error = null;
        GdImage* native = _create(image.WidthPixels, image.HeightPixels);
        if (native == null)
        {
            throw new ImageLibraryException($"libgd could not make a picture of {image.WidthPixels} × {image.HeightPixels} pixels{Reason()}");
        }

        byte* file = null;
        try
        {
            for (int y = 0; y < image.HeightPixels; y++)
            {
                ReadOnlySpan<byte> row = image.Row(y);
                var target = new Span<int>(native->TrueColorPixels[y], image.WidthPixels);
                for (int x = 0; x < target.Length; x++)
                {
                    target[x] = (row[x * 3] << 16) | (row[(x * 3) + 1] << 8) | row[(x * 3) + 2];
                }
            }

            int length = 0;
            file = encode(native, &length, quality);
            if (file == null || length <= 0)
            {
                throw new ImageLibraryException($"libgd could not write {format}{Reason()}");
            }

            return new ReadOnlySpan<byte>(file, length).ToArray();
        }
        finally
        {
            if (file != null)
            {
                _free(file);
            }

            _destroy(native);
        }
    }

    private static string Reason() => t_error is null ? "" : $": {t_error}";

    /// <summary>Warnings of libjpeg that cost no pixel; all others (a bad code, an early end) mean a picture that is partly invented.</summary>
    private static bool IsHarmless(string warning) =>
        warning.Contains("extraneous bytes before marker", StringComparison.Ordinal)
        || warning.Contains("Unknown Adobe color transform", StringComparison.Ordinal);

    private static RgbImage Copy(GdImage* image)
    {
        var copy = new RgbImage(image->Width, image->Height);
        for (int y = 0; y < copy.HeightPixels; y++)
        {
            Span<byte> row = copy.Row(y);
            var source = new ReadOnlySpan<int>(image->TrueColorPixels[y], copy.WidthPixels);
            for (int x = 0; x < source.Length; x++)
            {
                int pixel = source[x]; // alpha above red is dropped
                row[x * 3] = (byte)(pixel >> 16);
                row[(x * 3) + 1] = (byte)(pixel >> 8);
                row[(x * 3) + 2] = (byte)pixel;
            }
        }

        return copy;
    }

    private static nint Load()
    {
        foreach (string name in Names)
        {
            if (NativeLibrary.TryLoad(name, out nint library))
            {
                return library;
            }
        }

        throw new ImageLibraryException($"JPEG and WebP need libgd, and none of {string.Join(", ", Names)} can be loaded; on Debian: apt-get install libgd3");
    }

    private static nint Export(nint library, string name) => NativeLibrary.TryGetExport(library, name, out nint address)
        ? address
        : throw new ImageLibraryException($"libgd has no {name}: version 2.1 or newer with JPEG and WebP is needed");

    /// <summary>The struct is part of libgd's interface since 2.0; a build that differs is found before it does harm.</summary>
    private void CheckLayout()
    {
        GdImage* image = _create(3, 2);
        bool good = image != null && image->Width == 3 && image->Height == 2 && image->TrueColor == 1 && image->TrueColorPixels != null;
        if (image != null)
        {
            _destroy(image);
        }

        if (!good)
        {
            throw new ImageLibraryException("libgd lays its pictures out in another way than 2.1 to 2.3 do");
        }
    }

    /// <summary>Called by libgd with printf's arguments; without it libgd writes to stderr.</summary>
    [UnmanagedCallersOnly]
    private static void OnError(int priority, byte* format, void* arguments)
    {
        const int Capacity = 512;
        byte* text = stackalloc byte[Capacity];
        int length = OperatingSystem.IsWindows() ? 0 : Format(text, Capacity, format, arguments);
        string message = length <= 0 ? Marshal.PtrToStringUTF8((nint)format) ?? "" : Marshal.PtrToStringUTF8((nint)text) ?? "";
        t_error ??= message.ReplaceLineEndings(" ").Trim(); // the first is the cause
    }

    [DllImport("libc", EntryPoint = "vsnprintf")]
    private static extern int Format(byte* text, nint capacity, byte* format, void* arguments);

    /// <summary>gdImageStruct of gd.h up to tpixels.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct GdImage
    {
        public byte** PalettePixels;
        public int Width;
        public int Height;
        public int ColorsTotal;
        public Colors Red;
        public Colors Green;
        public Colors Blue;
        public Colors Open;
        public int Transparent;
        public int* PolygonPoints;
        public int PolygonCapacity;
        public void* Brush;
        public void* Tile;
        public Colors BrushColors;
        public Colors TileColors;
        public int StyleLength;
        public int StylePosition;
        public int* Style;
        public int Interlace;
        public int Thickness;
        public Colors Alpha;
        public int TrueColor;
        public int** TrueColorPixels;
    }

    [InlineArray(256)]
    private struct Colors
    {
        private int _first;
    }
}
