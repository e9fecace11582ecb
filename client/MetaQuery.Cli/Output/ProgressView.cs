using System.Diagnostics;
using System.Globalization;
using MetaQuery.Farm;
using Spectre.Console;

namespace MetaQuery.Cli.Output;

/// <summary>Shows how far a job is, on stderr: a bar on a terminal, otherwise a plain line now and then.</summary>
internal sealed class ProgressView : IProgress<JobProgress>
{
    private static readonly TimeSpan Frame = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan BetweenLines = TimeSpan.FromSeconds(5);
    private JobProgress? latest;

    public void Report(JobProgress value) => Volatile.Write(ref latest, value);

    /// <summary>Shows progress until the job ends, and returns what it gave.</summary>
    public Task<T> WatchAsync<T>(Task<T> job) =>
        Console.IsErrorRedirected || Environment.GetEnvironmentVariable("TERM") is null or "" or "dumb" ? WatchPlainAsync(job) : WatchBarAsync(job);

    internal static string Describe(JobProgress progress)
    {
        var done = progress.Written + progress.Failed;
        if (progress.State == JobState.Planning)
        {
            return "reading the prompts";
        }

        var text = string.Create(CultureInfo.InvariantCulture, $"{done}/{progress.Images} images");
        if (progress.Failed > 0)
        {
            text += $", {progress.Failed} failed";
        }

        if (progress.ImagesPerSecond > 0)
        {
            text += string.Create(CultureInfo.InvariantCulture, $", {progress.ImagesPerSecond:0.0} images/s");
        }

        return text + (progress.TimeLeft is { } left && done < progress.Images ? $", {Time(left)} left" : "");
    }

    internal static string Time(TimeSpan time) => time.TotalHours >= 1
        ? string.Create(CultureInfo.InvariantCulture, $"{(long)time.TotalHours}:{time.Minutes:00}:{time.Seconds:00}")
        : string.Create(CultureInfo.InvariantCulture, $"{time.Minutes}:{time.Seconds:00}");

    private async Task<T> WatchPlainAsync<T>(Task<T> job)
    {
        var since = Stopwatch.StartNew();
        string? written = null;
        while (!job.IsCompleted)
        {
            await Task.WhenAny(job, Task.Delay(Frame));
            if (since.Elapsed >= BetweenLines || job.IsCompleted)
            {
                since.Restart();
                if (!job.IsFaulted && Volatile.Read(ref latest) is { } now && Describe(now) is var line && !string.Equals(line, written, StringComparison.Ordinal))
                {
                    await Console.Error.WriteLineAsync(line);
                    written = line;
                }
            }
        }

        return await job;
    }

    private async Task<T> WatchBarAsync<T>(Task<T> job)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) });
        await console.Progress()
            .Columns(new ProgressBarColumn(), new PercentageColumn(), new TaskDescriptionColumn { Alignment = Justify.Left })
            .StartAsync(async context =>
            {
                var bar = context.AddTask("loading");
                while (!job.IsCompleted)
                {
                    await Task.WhenAny(job, Task.Delay(Frame));
                    if (Volatile.Read(ref latest) is { } now)
                    {
                        bar.MaxValue = Math.Max(1, now.Images);
                        bar.Value = now.Written + now.Failed;
                        bar.Description = Markup.Escape(Describe(now));
                    }
                }

                bar.StopTask();
            });
        return await job;
    }
}
