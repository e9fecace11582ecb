using System.Diagnostics;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class CrashTests : IDisposable
{
    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public void Killed_again_and_again_a_job_ends_with_the_same_bytes_and_makes_nothing_twice_that_was_committed()
    {
        string prompts = _work.Write("prompts.jsonl", [.. Enumerable.Range(0, 20).SelectMany(i => Run.MixedLines.Select(line => line.Replace("\"a\"", $"\"a{i}\"")))]);
        Run.Job(new ToyModel(), Run.Spec(prompts, _work["whole"]));
        long images = Run.MixedLines.Length * 20 * 3;
        var random = new Random(20251122);
        long committed = 0;
        int kills = 0;
        while (true)
        {
            using Process child = Start("run", prompts, _work["out"], "2");
            long before = committed;
            long killAt = before + random.Next(0, 70);
            bool killed = false;
            string? done = null;
            while (child.StandardOutput.ReadLine() is { } line)
            {
                string[] words = line.Split(' ');
                if (words[0] == "done")
                {
                    done = line;
                    break;
                }

                Assert.True(long.Parse(words[2]) >= before, $"{words[2]} images were found, {before} had been committed before the kill");
                committed = long.Parse(words[1]);
                if (committed >= killAt && kills < 8)
                {
                    child.Kill(); // SIGKILL
                    killed = true;
                    break;
                }
            }

            child.WaitForExit();
            if (!killed)
            {
                Assert.NotNull(done);
                Assert.Equal(0, child.ExitCode);
                Assert.Equal(images, done!.Split(' ')[1..].Sum(long.Parse)); // found + made now = all
                break;
            }

            kills++;
        }

        Assert.InRange(kills, 4, 8); // a run may end between two reports of a tenth of a second
        Assert.Equal(Workspace.HashOutput(_work["whole"]), Workspace.HashOutput(_work["out"]));
    }

    [Fact]
    public void Planning_a_million_prompts_stays_under_300_MB()
    {
        string prompts = _work["million.txt"];
        using (StreamWriter writer = File.CreateText(prompts))
        {
            for (int i = 0; i < 1_000_000; i++)
            {
                writer.WriteLine($"a photograph of thing number {i % 900_000} on a wooden table, soft light");
            }
        }

        using Process child = Start("plan", prompts, _work["out"]);
        string[] words = child.StandardOutput.ReadToEnd().Split(' ', StringSplitOptions.TrimEntries);
        child.WaitForExit();
        Assert.Equal(["1000000", "900000", "3000000"], words[..3]);
        Assert.InRange(long.Parse(words[3]), 1, 300 * 1024); // peak resident KiB of the whole process
    }

    private static Process Start(params string[] arguments) => Process.Start(new ProcessStartInfo(
        Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet",
        [typeof(CrashTests).Assembly.Location, .. arguments])
    { RedirectStandardOutput = true, UseShellExecute = false })!;
}
