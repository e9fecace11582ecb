using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace MetaQuery.Chaos.Tests;

/// <summary>The tools do what a run counts on: a fault that is none would prove nothing.</summary>
public sealed class ToolTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-chaos-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_proxy_passes_on_holds_back_and_cuts()
    {
        using var server = new TcpListener(IPAddress.Loopback, 0);
        server.Start();
        using var proxy = new CuttingProxy(((IPEndPoint)server.LocalEndpoint).Port);
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, proxy.Port);
        using TcpClient accepted = await server.AcceptTcpClientAsync();
        byte[] buffer = new byte[16];

        await client.GetStream().WriteAsync("hello"u8.ToArray());
        Assert.Equal("hello", Encoding.ASCII.GetString(buffer, 0, await accepted.GetStream().ReadAsync(buffer)));

        proxy.BeSilent();
        await client.GetStream().WriteAsync("held"u8.ToArray());
        Task<int> held = accepted.GetStream().ReadAsync(buffer).AsTask();
        await Assert.ThrowsAsync<TimeoutException>(() => held.WaitAsync(TimeSpan.FromMilliseconds(200)));
        proxy.Speak();
        Assert.Equal("held", Encoding.ASCII.GetString(buffer, 0, await held));

        proxy.Cut();
        Assert.Equal(0, await EndOfAsync(client));
        Assert.Equal(0, await EndOfAsync(accepted));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_disk_is_full_and_slow_where_it_is_told_to_be(bool mounts)
    {
        if (mounts && !Environment.IsPrivilegedProcess)
        {
            Console.WriteLine("not covered here: only root may mount a tmpfs");
            return;
        }

        using DataDisk disk = DataDisk.Create(_folder, mebibytes: 1, mounts);
        Directory.CreateDirectory(disk.DataFolder);
        string file = Path.Combine(disk.DataFolder, "file");
        Assert.Equal(0, Write(file).ExitCode);
        disk.Fill();
        Assert.Equal(1, Write(file + "-2").ExitCode); // what a file has already, it may keep
        disk.Free();
        var delay = TimeSpan.FromSeconds(1);
        Assert.True(IsQuickOnce(), "writes of a disk that is not slow take a second");
        disk.SlowDown(delay);
        Assert.True(Write(file).Elapsed >= delay);
        disk.SpeedUp();
        Assert.True(IsQuickOnce(), "a disk that is no longer slow still is");

        // a slow machine may make any one write slow; a slow disk makes all of them so
        bool IsQuickOnce() => Enumerable.Range(0, 60).Any(_ => Write(file).Elapsed < delay);

        (int ExitCode, TimeSpan Elapsed) Write(string path)
        {
            var start = new ProcessStartInfo("dd", ["if=/dev/zero", $"of={path}", "bs=1k", "count=1"]) { RedirectStandardError = true };
            foreach ((string name, string value) in disk.Environment)
            {
                start.Environment[name] = value;
            }

            var clock = Stopwatch.StartNew();
            using Process process = Process.Start(start)!;
            process.WaitForExit();
            return (process.ExitCode, clock.Elapsed);
        }
    }

    [Fact]
    public void Outputs_that_differ_in_a_byte_a_file_or_an_image_are_told_apart()
    {
        string ours = Directory.CreateDirectory(Path.Combine(_folder, "ours")).FullName;
        string theirs = Directory.CreateDirectory(Path.Combine(_folder, "theirs")).FullName;
        JobCase job = JobCase.Create(_folder, prompts: 4, steps: 2)[0] with { Prompts = 0 };
        foreach (string folder in (string[])[ours, theirs])
        {
            File.WriteAllText(Path.Combine(folder, "manifest.jsonl"), "{}");
            File.WriteAllText(Path.Combine(folder, "_stats.json"), folder); // may differ
        }

        Assert.Empty(OutputCheck.Compare(job, ours, theirs));
        File.WriteAllText(Path.Combine(ours, "manifest.jsonl"), "[]");
        File.WriteAllText(Path.Combine(ours, "more"), "");
        File.WriteAllText(Path.Combine(theirs, "less"), "");
        Assert.Equal(["less is missing", "manifest.jsonl has other bytes than without faults", "more is too many"], OutputCheck.Compare(job, ours, theirs));
        Assert.Equal(["0 images instead of 2"], OutputCheck.Compare(job with { Prompts = 1 }, ours, ours));
    }

    private static async Task<int> EndOfAsync(TcpClient client)
    {
        try
        {
            return await client.GetStream().ReadAsync(new byte[1]).AsTask().WaitAsync(TimeSpan.FromSeconds(10));
        }
        catch (IOException)
        {
            return 0; // reset rather than closed
        }
    }
}
