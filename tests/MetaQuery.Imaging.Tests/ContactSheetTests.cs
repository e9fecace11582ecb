using FsCheck.Xunit;

namespace MetaQuery.Imaging.Tests;

public sealed class ContactSheetTests
{
    [Theory]
    [InlineData(1, 1, 64, 64)]
    [InlineData(1, 4, 64, 64)]
    [InlineData(24, 2, 64, 64)]
    [InlineData(3, 6, 512, 384)]
    [InlineData(7, 1, 1, 300)]
    public void Every_picture_stands_whole_on_the_sheet(int groups, int images, int width, int height)
    {
        var black = new RgbImage(width, height);
        ContactSheetGroup[] all = [.. Enumerable.Range(0, groups).Select(i => new ContactSheetGroup("", [.. Enumerable.Repeat(black, images)]))];

        RgbImage sheet = ContactSheet.Render(all);

        double scale = Math.Max(width, height) is > 256 and var side ? 256.0 / side : Math.Max(1, 128 / Math.Max(width, height));
        int expected = groups * images * Math.Max(1, (int)(width * scale)) * Math.Max(1, (int)(height * scale));
        Assert.Equal(expected, Enumerable.Range(0, sheet.Pixels.Length / 3).Count(i => sheet.Pixels[i * 3] == 0));
        Assert.InRange(sheet.WidthPixels, 1, 3000);
    }

    [Fact]
    public void A_job_of_any_size_gives_a_sheet_of_bounded_size_that_says_what_is_missing()
    {
        var image = new RgbImage(16, 16);
        ContactSheetGroup[] groups = [.. Enumerable.Range(0, 300).Select(i => new ContactSheetGroup($"prompt {i}", [image, image]))];

        RgbImage full = ContactSheet.Render(groups[..120]);
        RgbImage sheet = ContactSheet.Render(groups, omittedImages: 5);

        Assert.Equal(full.WidthPixels, sheet.WidthPixels);
        Assert.InRange(sheet.HeightPixels, full.HeightPixels + 1, full.HeightPixels + 60); // a line of text more
    }

    [Fact]
    public void No_picture_gives_no_sheet()
    {
        Assert.Throws<ArgumentException>(() => ContactSheet.Render([]));
        Assert.Throws<ArgumentException>(() => ContactSheet.Render([new ContactSheetGroup("a", [])]));
    }

    [Fact]
    public void A_caption_is_drawn_beneath_and_letters_differ()
    {
        var image = new RgbImage(64, 64);
        byte[] one = ContactSheet.Render([new ContactSheetGroup("a red apple", [image])]).Pixels;
        byte[] other = ContactSheet.Render([new ContactSheetGroup("a red axple", [image])]).Pixels;

        Assert.Equal(one.Length, other.Length);
        Assert.NotEqual(one, other);
    }

    [Property(MaxTest = 500)]
    public bool Wrapped_lines_fit_and_hold_the_text_or_say_that_they_do_not(FsCheck.NonNull<string> text, byte width)
    {
        int pixels = 40 + width;
        IReadOnlyList<string> lines = BitmapFont.Wrap(text.Get, pixels, 3);
        string simple = BitmapFont.Simplify(text.Get);
        bool whole = string.Concat(lines).Replace(" ", "", StringComparison.Ordinal) == simple.Replace(" ", "", StringComparison.Ordinal);
        return lines.Count <= 3
            && lines.All(line => BitmapFont.MeasurePixels(line) <= pixels)
            && (whole || (lines.Count == 3 && lines[2].EndsWith("...", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("Crème brûlée — “très” bon…", "Creme brulee - \"tres\" bon...")]
    [InlineData("line\r\n\tbreak", "line break")]
    [InlineData("猫 cat 🐈", "? cat ?")]
    public void Characters_that_the_font_lacks_become_their_nearest(string text, string expected) =>
        Assert.Equal(expected, BitmapFont.Simplify(text));
}
