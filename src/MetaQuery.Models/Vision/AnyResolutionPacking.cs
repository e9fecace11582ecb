namespace MetaQuery.Models.Vision;

/// <summary>How LLaVA-OneVision packs a picture's tiles: as one picture without the border that made it fit, scaled down where it is too large, a newline
/// behind each row (transformers 4.49, unpad_image and pack_image_features).</summary>
/// <param name="TopBorder">Rows of tokens left out above, and below.</param>
/// <param name="LeftBorder">Columns of tokens left out on the left, and on the right.</param>
/// <param name="Rows">Without the border.</param>
/// <param name="Columns">Without the border.</param>
/// <param name="PackedRows">After scaling down.</param>
/// <param name="PackedColumns">After scaling down, without the newline.</param>
public sealed record AnyResolutionPacking(long TopBorder, long LeftBorder, long Rows, long Columns, long PackedRows, long PackedColumns)
{
    private const double LeastShrink = 1.1; // a picture that is less than a tenth too large a side is left as it is

    public bool IsShrunk => PackedRows != Rows || PackedColumns != Columns;

    /// <summary>Tokens of the packed tiles, newlines included.</summary>
    public long Tokens => PackedRows * (PackedColumns + 1);

    /// <param name="side">Tokens from one side of a tile to the other.</param>
    /// <param name="maxTiles">How many tiles' tokens a picture may have.</param>
    /// <param name="tileRows">Tiles from top to bottom.</param>
    /// <param name="tileColumns">Tiles from left to right.</param>
    /// <param name="heightPixels">Of the picture before it was fitted into the tiles.</param>
    /// <param name="widthPixels">Of the picture before it was fitted into the tiles.</param>
    public static AnyResolutionPacking Plan(long side, int maxTiles, int tileRows, int tileColumns, int heightPixels, int widthPixels)
    {
        var (rows, columns) = (tileRows * side, tileColumns * side);
        var (top, left) = (0L, 0L);
        if ((double)widthPixels / heightPixels > (double)columns / rows)
            top = (rows - Rounded(heightPixels * ((double)columns / widthPixels))) / 2;
        else
            left = (columns - Rounded(widthPixels * ((double)rows / heightPixels))) / 2;
        (rows, columns) = (rows - (2 * top), columns - (2 * left));
        var ratio = Math.Sqrt(rows * columns / (double)(maxTiles * side * side));
        return ratio > LeastShrink
            ? new AnyResolutionPacking(top, left, rows, columns, FloorDivide(rows, ratio), FloorDivide(columns, ratio))
            : new AnyResolutionPacking(top, left, rows, columns, rows, columns);
    }

    // Python's int(round(value, 7)): a product that should be whole must not fall short of it by its rounding.
    private static long Rounded(double value) => (long)Math.Round(value, 7, MidpointRounding.ToEven);

    // Python's int(value // divisor), which is not always the floor of the rounded quotient.
    private static long FloorDivide(double value, double divisor) => (long)Math.Round((value - (value % divisor)) / divisor, MidpointRounding.ToEven);
}
