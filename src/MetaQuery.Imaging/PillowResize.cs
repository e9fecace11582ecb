namespace MetaQuery.Imaging;

/// <summary>Pillow's resampling filters.</summary>
public enum ResampleFilter
{
    Bilinear,
    Bicubic,
    Lanczos,
}

/// <summary>Pillow 11's <c>Image.resize</c>, exact to the last bit.</summary>
public static class PillowResize
{
    public static RgbImage Resize(RgbImage image, int widthPixels, int heightPixels, ResampleFilter filter) => throw new NotImplementedException();
}
