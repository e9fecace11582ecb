using System.Diagnostics;
using System.Globalization;
using System.Text;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests.Queue;

/// <summary>A real process writes; it is killed with SIGKILL at a point of chance.</summary>
public sealed class JournalCrashTests : IDisposable
{
    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    [Fact]
    public void What_a_killed_process_had_appended_is_there_whole_and_in_order()
    {
        string path = _work["farm.log"];
        var random = new Random(20251122);
        long promised = -1;
        long first = 0;
        for (int kill = 0; kill < 6; kill++)
        {
            long upTo = promised + 1 + random.Next(0, 4000);
            using (Process child = Start("journal", path))
            {
                while (promised < upTo)
                {
                    promised = long.Parse(child.StandardOutput.ReadLine()!, CultureInfo.InvariantCulture);
                }

                child.Kill(); // SIGKILL, somewhere in an append, a sync or a compaction
                child.WaitForExit();
            }

            var numbers = new List<long>();
            using FarmJournal journal = FarmJournal.Open(path, (_, payload) => numbers.Add(JournalChild.NumberOf(payload)));
            Assert.NotEmpty(numbers);
            Assert.Equal(Enumerable.Range(0, numbers.Count).Select(i => numbers[0] + i), numbers); // no gap, no double
            Assert.InRange(numbers[^1], promised, long.MaxValue);
            first = numbers[0];
        }

        Assert.True(first > 0, "no compaction took place: the test is too short");
    }

    [Fact]
    public async Task What_a_killed_process_had_leased_counts_as_dead()
    {
        string path = _work["leases.log"];
        using (Process child = Start("lease", path))
        {
            Assert.Equal("leased", child.StandardOutput.ReadLine());
            child.Kill();
            child.WaitForExit();
        }

        using var queue = new MemoryWorkQueue(TimeSpan.FromSeconds(30), new ManualClock(), path);
        IReadOnlyList<WorkItem> dead = await queue.ReclaimAsync(default);
        Assert.Equal(["d/j/1", "d/j/3"], dead.Select(item => item.Id)); // 0 and 2 were reported, 4 was never leased
    }

    private static Process Start(params string[] arguments) => Process.Start(new ProcessStartInfo(
        Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet",
        [typeof(JournalCrashTests).Assembly.Location, .. arguments])
    { RedirectStandardOutput = true, UseShellExecute = false })!;
}

/// <summary>The processes that are killed.</summary>
internal static class JournalChild
{
    public const int KeptByCompaction = 500;

    public static long NumberOf(ReadOnlySpan<byte> payload)
    {
        string text = Encoding.ASCII.GetString(payload);
        Assert.EndsWith("!", text, StringComparison.Ordinal);
        return long.Parse(text.Split(' ')[0], CultureInfo.InvariantCulture);
    }

    /// <summary>Appends numbers from where the journal ends, syncs now and then, compacts now and then; says which it has appended.</summary>
    public static void WriteJournal(string path)
    {
        long last = -1;
        using FarmJournal journal = FarmJournal.Open(path, (_, payload) => last = NumberOf(payload));
        var kept = new Queue<byte[]>();
        using Stream output = Console.OpenStandardOutput();
        for (long number = last + 1; ; number++)
        {
            byte[] payload = Encoding.ASCII.GetBytes($"{number} {new string('x', (int)(number * 7 % 200))}!");
            journal.Append(1, payload);
            kept.Enqueue(payload);
            if (kept.Count > KeptByCompaction)
            {
                kept.Dequeue();
            }

            if (number % 50 == 0)
            {
                journal.Flush();
            }

            if (number % (KeptByCompaction * 2) == 0 && kept.Count == KeptByCompaction)
            {
                journal.Compact(kept.Select(one => ((byte)1, (ReadOnlyMemory<byte>)one)));
            }

            output.Write(Encoding.ASCII.GetBytes($"{number}\n"));
        }
    }

    public static async Task LeaseAndWaitAsync(string path)
    {
        using var queue = new MemoryWorkQueue(TimeSpan.FromSeconds(30), journalPath: path);
        await queue.FeedAsync("lane", [.. Enumerable.Range(0, 5).Select(i => Items.Denoise("j", i))], default);
        IReadOnlyList<Lease> leases = await queue.LeaseAsync(new LeaseRequest("w", "lane", WorkRoles.Dit, 4, TimeSpan.Zero), default);
        await queue.ReportAsync("w", [new WorkReport(leases[0], new ReturnedOutcome()), new WorkReport(leases[2], new ReturnedOutcome())], default);
        Console.WriteLine("leased");
        await Task.Delay(Timeout.Infinite);
    }
}
