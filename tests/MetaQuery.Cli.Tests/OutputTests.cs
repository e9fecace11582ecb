using MetaQuery.Cli.Commands;
using MetaQuery.Cli.Output;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Tests;

/// <summary>How numbers, names and progress are written.</summary>
public class OutputTests
{
    private static readonly JobProgress Running = new(JobState.Running, 12, 12, 9, 48, 20, 16, 0, 8, 3.25, TimeSpan.FromSeconds(9.8));

    [Fact]
    public void Progress_says_images_rate_time_left_and_failures()
    {
        Assert.Equal("16/48 images, 3.3 images/s, 0:09 left", ProgressView.Describe(Running));
        Assert.Equal("18/48 images, 2 failed, 3.3 images/s, 0:09 left", ProgressView.Describe(Running with { Failed = 2 }));
        Assert.Equal("0/48 images", ProgressView.Describe(Running with { Written = 0, ImagesPerSecond = 0, TimeLeft = null }));
        Assert.Equal("48/48 images, 3.3 images/s", ProgressView.Describe(Running with { Written = 48, TimeLeft = TimeSpan.Zero }));
    }

    [Fact]
    public void A_run_that_made_nothing_is_complete_only_where_nothing_was_given_up()
    {
        var nothing = new JobStats(0, 0, TimeSpan.Zero, 0, 0, new ConditionCacheCounters(0, 0, 0, 0, 0, 0, 0, 0), 0, 0, new Dictionary<string, TimeSpan>());
        Assert.Equal("48 images in out: complete already, nothing to do", JobReport.Made("out", Running with { Written = 48 }, nothing));
        Assert.Equal("0 images in out: none made now", JobReport.Made("out", Running with { Written = 0, Failed = 1 }, nothing));
        Assert.Equal("1 image in out: 1 made now at 2.0 images/s, 3 condition passes", JobReport.Made("out", Running with { Written = 1 }, nothing with { Images = 1, ImagesPerSecond = 2, ConditionPasses = 3 }));
        Assert.StartsWith("1 image was given up; ", JobReport.GivenUp("out", 1), StringComparison.Ordinal);
        Assert.StartsWith("2 images were given up; ", JobReport.GivenUp("out", 2), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("completed", 0)]
    [InlineData("completed_with_errors", 6)]
    [InlineData("failed", 8)]
    [InlineData("cancelled", 9)]
    public void A_watched_job_s_end_has_an_exit_code_of_its_own(string state, int expected)
    {
        var settings = new Client.JobSettings("64x64", 4, 4.5f, "", 0, 1, 10_000, "png", 95, 4);
        var job = new Client.Job(
            "job_1", "job", "fruit", "local", "bulk", state, null, new Client.JobCounts(1, 1, 1, 1, 1, 1, 0), 0, null, settings, [], null, DateTimeOffset.UnixEpoch, null, null, null);
        Assert.Equal(expected, RemoteReport.ExitCodeOf(job));
        Assert.Contains($"| {expected} |", File.ReadAllText(Path.Combine(TestKit.RepositoryFolders.Root, "docs", "cli.md")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(59, "0:59")]
    [InlineData(3599, "59:59")]
    [InlineData(90061, "25:01:01")]
    public void Times_count_hours_beyond_a_day(int seconds, string expected) => Assert.Equal(expected, ProgressView.Time(TimeSpan.FromSeconds(seconds)));

    [Theory]
    [InlineData(1023, "1023 bytes")]
    [InlineData(1536, "1.5 KiB")]
    [InlineData(98_400_000, "93.8 MiB")]
    public void Sizes_are_in_binary_units(long bytes, string expected) => Assert.Equal(expected, Sizes.Bytes(bytes));

    [Theory]
    [InlineData("a red apple, noto style", "a-red-apple-noto-style")]
    [InlineData("../../etc/passwd", "etc-passwd")]
    [InlineData("!?", "image")]
    [InlineData("ONE two three four five six seven eight nine ten eleven", "one-two-three-four-five-six-seven-eight-nine-ten")]
    [InlineData("Äpfel 東京", "äpfel-東京")]
    public void A_file_name_is_made_of_the_prompt_s_letters(string prompt, string expected) => Assert.Equal(expected, GenerateCommand.Slug(prompt));

    [Fact]
    public void A_size_is_one_side_or_height_by_width()
    {
        Assert.Equal(new ImageSize(64, 64), Values.ParseSize("64"));
        Assert.Equal(new ImageSize(64, 96), Values.ParseSize("64x96"));
        Assert.Null(Values.ParseSize("0"));
        Assert.Null(Values.ParseSize("64x-1"));
        Assert.Null(Values.ParseSize("1x2x3"));
    }

    [Fact]
    public void A_message_of_several_lines_becomes_one() => Assert.Equal("a b c", Failure.OneLine("a\r\n  b\tc\n"));
}
