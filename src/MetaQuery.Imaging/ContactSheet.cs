namespace MetaQuery.Imaging;

/// <summary>The pictures of one prompt, captioned once beneath.</summary>
public sealed record ContactSheetGroup(string Caption, IReadOnlyList<RgbImage> Images);

/// <summary>A sheet of pictures with their captions beneath, dark grey on white. The same pictures give the same sheet.</summary>
public static class ContactSheet
{
    /// <summary>The most pictures on a sheet: further ones are left out, and a line at its foot says how many.</summary>
    public const int MaxImages = 240;

    private const int SmallestSidePixels = 128; // smaller pictures are enlarged by whole numbers
    private const int LargestSidePixels = 256;
    private const int MarginPixels = 28;
    private const int GroupGapPixels = 24;
    private const int ImageGapPixels = 5;
    private const int CaptionGapPixels = 6;
    private const int MaxCaptionLines = 3;
    private const int MaxWidthPixels = 2400;
    private const double WantedRatio = 4.0 / 3;
    private const double EmptyPlaceWeight = 2; // a last row with gaps looks worse than a sheet somewhat wider or higher
    private const byte TextGrey = 0x33;
    private const byte FaintGrey = 0x80;
    private const byte BorderGrey = 0xDD;

    /// <param name="groups">At least one picture in all.</param>
    /// <param name="omittedImages">Pictures that the caller has left out already; they are named at the sheet's foot.</param>
    /// <exception cref="ArgumentException">There is no picture.</exception>
    public static RgbImage Render(IReadOnlyList<ContactSheetGroup> groups, long omittedImages = 0)
    {
        List<ContactSheetGroup> shown = Limit(groups, ref omittedImages);
        if (shown.Count == 0)
        {
            throw new ArgumentException("a contact sheet needs at least one picture", nameof(groups));
        }

        Layout layout = Layout.For(shown);
        int footer = omittedImages > 0 ? BitmapFont.LineHeightPixels + GroupGapPixels : 0;
        var sheet = new RgbImage(layout.WidthPixels, layout.HeightPixels + footer);
        sheet.Pixels.AsSpan().Fill(0xFF);
        int top = MarginPixels;
        for (int first = 0; first < shown.Count; first += layout.Columns)
        {
            int count = Math.Min(layout.Columns, shown.Count - first);
            for (int column = 0; column < count; column++)
            {
                int left = MarginPixels + (column * (layout.GroupWidthPixels + GroupGapPixels));
                DrawGroup(sheet, layout, shown[first + column], left, top);
            }

            top += layout.RowHeights[first / layout.Columns] + GroupGapPixels;
        }

        if (omittedImages > 0)
        {
            string text = omittedImages == 1 ? "1 more picture is not shown" : $"{omittedImages} more pictures are not shown";
            BitmapFont.Draw(sheet, MarginPixels, sheet.HeightPixels - MarginPixels - BitmapFont.LineHeightPixels, text, FaintGrey);
        }

        return sheet;
    }

    private static List<ContactSheetGroup> Limit(IReadOnlyList<ContactSheetGroup> groups, ref long omittedImages)
    {
        var shown = new List<ContactSheetGroup>();
        int left = MaxImages;
        foreach (ContactSheetGroup group in groups)
        {
            int taken = Math.Min(left, group.Images.Count);
            omittedImages += group.Images.Count - taken;
            left -= taken;
            if (taken > 0)
            {
                shown.Add(taken == group.Images.Count ? group : group with { Images = [.. group.Images.Take(taken)] });
            }
        }

        return shown;
    }

    private static void DrawGroup(RgbImage sheet, Layout layout, ContactSheetGroup group, int left, int top)
    {
        for (int i = 0; i < group.Images.Count; i++)
        {
            RgbImage image = Fit(group.Images[i]);
            int x = left + (i % layout.ImagesAcross * (layout.CellWidthPixels + ImageGapPixels)) + ((layout.CellWidthPixels - image.WidthPixels) / 2);
            int y = top + (i / layout.ImagesAcross * (layout.CellHeightPixels + ImageGapPixels)) + ((layout.CellHeightPixels - image.HeightPixels) / 2);
            DrawBorder(sheet, x - 1, y - 1, image.WidthPixels + 2, image.HeightPixels + 2);
            for (int row = 0; row < image.HeightPixels; row++)
            {
                image.Row(row).CopyTo(sheet.Row(y + row)[(x * 3)..]);
            }
        }

        int baseline = top + layout.ImagesHeight(group.Images.Count) + CaptionGapPixels;
        foreach (string line in BitmapFont.Wrap(group.Caption, layout.GroupWidthPixels, MaxCaptionLines))
        {
            BitmapFont.Draw(sheet, left, baseline, line, TextGrey);
            baseline += BitmapFont.LineHeightPixels;
        }
    }

    /// <summary>Many pictures are white at their edges: a thin line shows where they end.</summary>
    private static void DrawBorder(RgbImage sheet, int left, int top, int width, int height)
    {
        for (int y = 0; y < height; y++)
        {
            Span<byte> row = sheet.Row(top + y).Slice(left * 3, width * 3);
            if (y == 0 || y == height - 1)
            {
                row.Fill(BorderGrey);
            }
            else
            {
                row[..3].Fill(BorderGrey);
                row[^3..].Fill(BorderGrey);
            }
        }
    }

    private static (int WidthPixels, int HeightPixels) FitSize(RgbImage image)
    {
        int side = Math.Max(image.WidthPixels, image.HeightPixels);
        if (side <= LargestSidePixels)
        {
            int times = Math.Max(1, SmallestSidePixels / side);
            return (image.WidthPixels * times, image.HeightPixels * times);
        }

        return (Math.Max(1, image.WidthPixels * LargestSidePixels / side), Math.Max(1, image.HeightPixels * LargestSidePixels / side));
    }

    private static RgbImage Fit(RgbImage image)
    {
        (int width, int height) = FitSize(image);
        return width == image.WidthPixels && height == image.HeightPixels
            ? image
            : PillowResize.Resize(image, width, height, width > image.WidthPixels ? ResampleFilter.Bicubic : ResampleFilter.Lanczos);
    }

    /// <summary>Groups stand in columns of equal width; every row of groups is as high as its highest.</summary>
    private sealed record Layout(int Columns, int ImagesAcross, int CellWidthPixels, int CellHeightPixels, IReadOnlyList<int> RowHeights)
    {
        public int GroupWidthPixels => (ImagesAcross * (CellWidthPixels + ImageGapPixels)) - ImageGapPixels;

        public int WidthPixels => (2 * MarginPixels) + (Columns * (GroupWidthPixels + GroupGapPixels)) - GroupGapPixels;

        public int HeightPixels => (2 * MarginPixels) + RowHeights.Sum() + ((RowHeights.Count - 1) * GroupGapPixels);

        public int ImagesHeight(int count) => ((count + ImagesAcross - 1) / ImagesAcross * (CellHeightPixels + ImageGapPixels)) - ImageGapPixels;

        /// <summary>The number of columns whose sheet comes nearest to the wanted ratio and leaves few places empty.</summary>
        public static Layout For(IReadOnlyList<ContactSheetGroup> groups)
        {
            (int width, int height) = (0, 0);
            foreach (RgbImage image in groups.SelectMany(group => group.Images))
            {
                (int w, int h) = FitSize(image);
                (width, height) = (Math.Max(width, w), Math.Max(height, h));
            }

            int most = groups.Max(group => group.Images.Count);
            int across = most <= 4 ? most : Math.Min(8, (int)Math.Ceiling(Math.Sqrt(most * 1.5)));
            Layout? best = null;
            double bestDistance = double.MaxValue;
            for (int columns = 1; columns <= groups.Count; columns++)
            {
                Layout layout = Measure(groups, new Layout(columns, across, width, height, []));
                int places = columns * layout.RowHeights.Count;
                double distance = Math.Abs(Math.Log(layout.WidthPixels / (WantedRatio * layout.HeightPixels))) + (EmptyPlaceWeight * (places - groups.Count) / places);
                if (columns > 1 && (layout.WidthPixels > MaxWidthPixels || distance >= bestDistance))
                {
                    continue;
                }

                (best, bestDistance) = (layout, distance);
            }

            return best!;
        }

        private static Layout Measure(IReadOnlyList<ContactSheetGroup> groups, Layout layout)
        {
            int[] heights = new int[(groups.Count + layout.Columns - 1) / layout.Columns];
            for (int i = 0; i < groups.Count; i++)
            {
                int lines = BitmapFont.Wrap(groups[i].Caption, layout.GroupWidthPixels, MaxCaptionLines).Count;
                int caption = lines == 0 ? 0 : CaptionGapPixels + (lines * BitmapFont.LineHeightPixels);
                ref int height = ref heights[i / layout.Columns];
                height = Math.Max(height, layout.ImagesHeight(groups[i].Images.Count) + caption);
            }

            return layout with { RowHeights = heights };
        }
    }
}
