using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;

namespace MetaQuery.Chaos.Tests;

/// <summary>Who stops the tool finds neither a process nor a mounted disk of it afterwards.</summary>
public sealed partial class StopTests : IDisposable
{
    private const int Interrupt = 2; // SIGINT, SIGTERM and SIGHUP on Linux
    private const int Terminate = 15;
    private const int HangUp = 1;
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);

    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-chaos-").FullName;

    public void Dispose()
    {
        foreach (int left in ProcessesOf(_folder)) // of a test that failed
        {
            SendSignal(left, 9);
        }

        Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [InlineData(Interrupt, "reference-plain.log")] // in the run without faults that comes first
    [InlineData(HangUp, "run-1/worker-2.log")] // as soon as the last process of the farm is there
    [InlineData(Terminate, "faults.jsonl")] // in the middle of the faults
    public async Task A_stopped_series_leaves_no_process_and_no_mounted_disk(int signal, string stage)
    {
        var start = new ProcessStartInfo(
            "env", // whoever runs the tests in the background or under nohup has these two ignored, which children inherit
            ["--default-signal=INT,HUP", "dotnet", Path.Combine(AppContext.BaseDirectory, "MetaQuery.Chaos.dll"), "--faults", "14", "--prompts", "4", "--steps", "2", "--out", Path.Combine(_folder, "out")])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        start.Environment["TMPDIR"] = _folder; // so that redis-server too can be told by its command line
        using Process tool = Process.Start(start)!;
        Task<string> output = tool.StandardOutput.ReadToEndAsync();
        Task<string> error = tool.StandardError.ReadToEndAsync();
        var clock = Stopwatch.StartNew();
        while (!File.Exists(Path.Combine(_folder, "out", stage)) || !ProcessesOf(_folder).Except([tool.Id]).Any())
        {
            Assert.False(tool.HasExited, "the tool ended before it could be stopped");
            Assert.True(clock.Elapsed < Patience, $"{stage} has not come");
            await Task.Delay(10);
        }

        Assert.Equal(0, SendSignal(tool.Id, signal));
        await tool.WaitForExitAsync().WaitAsync(Patience);
        Assert.True(tool.ExitCode == 130, $"code {tool.ExitCode}: {await output} {await error}");
        Assert.Contains("chaos: stopped;", await error, StringComparison.Ordinal);
        Assert.Empty(ProcessesOf(_folder));
        Assert.DoesNotContain(_folder, await File.ReadAllTextAsync("/proc/self/mounts"), StringComparison.Ordinal);
    }

    private static int[] ProcessesOf(string folder) =>
        [.. Directory.EnumerateDirectories("/proc").Where(path => int.TryParse(Path.GetFileName(path), out _) && CommandLine(path).Contains(folder, StringComparison.Ordinal)).Select(path => int.Parse(Path.GetFileName(path), null))];

    private static string CommandLine(string process)
    {
        try
        {
            return Encoding.UTF8.GetString(File.ReadAllBytes(Path.Combine(process, "cmdline")));
        }
        catch (IOException)
        {
            return ""; // ended meanwhile
        }
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int SendSignal(int process, int signal);
}
