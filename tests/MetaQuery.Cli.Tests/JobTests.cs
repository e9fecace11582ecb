using System.Diagnostics;

namespace MetaQuery.Cli.Tests;

/// <summary>The main job on the real Nano model: few steps, few pictures, real processes, real signals.</summary>
public class JobTests
{
    // Two steps and small batches: what is tested is the way, not the picture.
    private static readonly string[] Fast = ["--steps", "2", "--batch-size", "4", "--images-per-prompt", "4", "--shard-size", "12"];

    [Fact]
    public void The_same_job_gives_the_same_bytes_and_a_second_run_does_nothing()
    {
        using var folder = new TemporaryFolder();
        var prompts = Prompts(folder, 5);
        var first = Job(prompts, folder["a"]).Succeeded();
        var other = CliProcess.Run(["job", "run", prompts, "--out", folder["b"], .. Fast, "--slots", "1"]).Succeeded();
        Assert.Contains("20 images in", first.Output, StringComparison.Ordinal);
        Assert.Contains("contact sheet: ", other.Output, StringComparison.Ordinal);

        var digests = TemporaryFolder.Digests(folder["a"]);
        Assert.Equal(digests, TemporaryFolder.Digests(folder["b"]));
        Assert.Equal(["00000.tar", "00001.tar", "contact-sheet.png", "job.json", "manifest.jsonl"], digests.Keys);

        Assert.Contains("complete already", Job(prompts, folder["a"]).Succeeded().Output, StringComparison.Ordinal);
        Assert.Equal(digests, TemporaryFolder.Digests(folder["a"]));

        var conflict = CliProcess.Run(["job", "run", prompts, "--out", folder["a"], .. Fast, "--seed", "5"]).OneLineError(3);
        Assert.Contains("seed", conflict, StringComparison.Ordinal);
    }

    [Fact]
    public void Killed_and_interrupted_jobs_go_on_and_end_with_the_same_bytes()
    {
        using var folder = new TemporaryFolder();
        var prompts = Prompts(folder, 12);
        Job(prompts, folder["whole"]).Succeeded();

        using (var victim = StartUntilCommitted(prompts, folder["killed"]))
        {
            victim.Kill();
            victim.Wait();
        }

        AssertUnfinished(folder["killed"]);
        using (var stopped = StartUntilCommitted(prompts, folder["killed"]))
        {
            stopped.CtrlC();
            var result = stopped.Wait();
            if (result.ExitCode != 0) // it may have been done by then
            {
                Assert.True(result.ExitCode == 130, $"exit code {result.ExitCode}; {result.Error}");
                Assert.Contains("the same command goes on", result.Error, StringComparison.Ordinal);
                AssertUnfinished(folder["killed"]);
            }
        }

        Job(prompts, folder["killed"]).Succeeded();
        Assert.Equal(TemporaryFolder.Digests(folder["whole"]), TemporaryFolder.Digests(folder["killed"]));
    }

    [Fact]
    public void A_dry_run_says_what_would_be_made_and_makes_nothing()
    {
        using var folder = new TemporaryFolder();
        var prompts = folder.Write("prompts.csv", "prompt,id\nred heart,1\n\"red heart\",2\nstar,3\n");
        var result = CliProcess.Run(["job", "run", prompts, "--out", folder["out"], .. Fast, "--dry-run"]).Succeeded();
        Assert.Contains("prompts:        3 (2 to encode", result.Output, StringComparison.Ordinal);
        Assert.Contains("images:         12", result.Output, StringComparison.Ordinal);
        Assert.False(Directory.Exists(folder["out"]));
    }

    [Fact]
    public void Invalid_lines_are_skipped_and_listed_when_asked()
    {
        using var folder = new TemporaryFolder();
        var prompts = folder.Write("prompts.jsonl", "{\"prompt\": \"star\"}\n{\"text\": \"no prompt\"}\n{\"prompt\": \"moon\", \"steps\": -1}\n");
        var result = CliProcess.Run(["job", "run", prompts, "--out", folder["out"], "--steps", "1", "--skip-invalid"]).Succeeded();
        Assert.Contains("1 image in", result.Output, StringComparison.Ordinal);
        Assert.Contains(result.ErrorLines, line => line.StartsWith("skipped: ", StringComparison.Ordinal) && line.Contains("line 2", StringComparison.Ordinal));
        Assert.Contains(result.ErrorLines, line => line.StartsWith("skipped: ", StringComparison.Ordinal) && line.Contains("line 3", StringComparison.Ordinal));
    }

    [Fact]
    public void Generate_writes_the_same_pictures_twice_and_a_contact_sheet()
    {
        using var folder = new TemporaryFolder();
        foreach (var name in (string[])["a", "b"])
        {
            var result = CliProcess.Run("generate", "a red apple, noto style", "-n", "2", "--steps", "2", "--out", folder[name]).Succeeded();
            Assert.Equal(3, result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        }

        var digests = TemporaryFolder.Digests(folder["a"]);
        Assert.Equal(["a-red-apple-noto-style-0-00.png", "a-red-apple-noto-style-0-01.png", "a-red-apple-noto-style-0-contact-sheet.png"], digests.Keys);
        Assert.Equal(digests, TemporaryFolder.Digests(folder["b"]));
        Assert.NotEqual(digests.Values.First(), digests.Values.Skip(1).First());
    }

    private static string Prompts(TemporaryFolder folder, int count) =>
        folder.Write("prompts.txt", string.Join('\n', Enumerable.Range(1, count).Select(i => $"picture {i % 9}, noto style")) + "\n");

    private static CliResult Job(string prompts, string outFolder) => CliProcess.Run(["job", "run", prompts, "--out", outFolder, .. Fast]);

    // Waits until the job has committed a picture that it had not committed before, and returns it running.
    private static CliProcess StartUntilCommitted(string prompts, string outFolder)
    {
        var before = Committed(outFolder);
        var job = CliProcess.Start(["job", "run", prompts, "--out", outFolder, .. Fast]);
        var watch = Stopwatch.StartNew();
        using var pause = new ManualResetEventSlim();
        while (Committed(outFolder) <= before && !job.HasExited && watch.Elapsed < TimeSpan.FromMinutes(1))
        {
            pause.Wait(TimeSpan.FromMilliseconds(5));
        }

        return job;
    }

    private static long Committed(string outFolder)
    {
        if (!Directory.Exists(outFolder))
        {
            return 0;
        }

        return Directory.EnumerateFiles(outFolder, "*", new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.None, IgnoreInaccessible = true })
            .Where(f => f.EndsWith(".tar", StringComparison.Ordinal) || f.EndsWith(".spool", StringComparison.Ordinal))
            .Sum(f => new FileInfo(f) is { Exists: true } info ? info.Length : 0);
    }

    private static void AssertUnfinished(string outFolder) => Assert.False(File.Exists(Path.Combine(outFolder, "contact-sheet.png")), "the job was done before it could be stopped");
}
