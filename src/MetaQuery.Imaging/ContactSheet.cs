namespace MetaQuery.Imaging;

/// <summary>The pictures of one prompt, captioned once beneath.</summary>
public sealed record ContactSheetGroup(string Caption, IReadOnlyList<RgbImage> Images);

/// <summary>A sheet of pictures with captions beneath, on white.</summary>
public static class ContactSheet
{
    /// <summary>The most pictures on a sheet: further ones are left out, and the sheet's last line says how many.</summary>
    public const int MaxImages = 240;

    /// <param name="groups">At least one picture in all.</param>
    /// <param name="omittedImages">Pictures that the caller has left out already; named on the sheet.</param>
    public static RgbImage Render(IReadOnlyList<ContactSheetGroup> groups, long omittedImages = 0) => throw new NotImplementedException();
}
