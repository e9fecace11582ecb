using System.Diagnostics;
using System.Text;
using MetaQuery.TestKit;

namespace MetaQuery.Cli.Tests;

/// <summary>Every bad input is one line that says what and where, a documented exit code, and nothing under a final name.</summary>
public class BadInputTests
{
    [Fact]
    public void A_bad_prompt_file_stops_the_job_before_it_starts()
    {
        using var folder = new TemporaryFolder();
        (string Name, byte[] Content, string Expected)[] files =
        [
            ("empty.txt", [], "is empty"),
            ("blank.txt", "\n\n"u8.ToArray(), "no prompt"),
            ("malformed.jsonl", "{\"prompt\": \"star\"}\n{\"prompt\": \n"u8.ToArray(), "line 2"),
            ("without.jsonl", "{\"prompt\": \"star\"}\n{\"text\": \"moon\"}\n"u8.ToArray(), "line 2"),
            ("without.csv", "text,id\nstar,1\n"u8.ToArray(), "prompt"),
            ("long.txt", Encoding.ASCII.GetBytes("star\n" + new string('x', 1_000_000) + "\n"), "line 2"),
            ("bytes.txt", [.. "star\nmo"u8, 0xFF, .. "on\n"u8], "line 2"),
            ("range.jsonl", "{\"prompt\": \"star\", \"steps\": 0}\n"u8.ToArray(), "line 1"),
            ("guidance.jsonl", "{\"prompt\": \"star\", \"guidance\": 1e9}\n"u8.ToArray(), "line 1"),
        ];
        Parallel.ForEach(files, new ParallelOptions { MaxDegreeOfParallelism = 2 }, file =>
        {
            var path = folder.Write(file.Name, file.Content);
            var line = CliProcess.Run("job", "run", path, "--out", folder[file.Name + ".out"]).OneLineError(2);
            Assert.Contains(file.Name, line, StringComparison.Ordinal);
            Assert.Contains(file.Expected, line, StringComparison.Ordinal);
            Assert.False(Directory.Exists(folder[file.Name + ".out"]), $"{file.Name}: the out folder was made");
        });
    }

    [Fact]
    public void A_size_the_model_cannot_make_is_refused_by_its_multiples()
    {
        using var folder = new TemporaryFolder();
        Assert.Contains("63", CliProcess.Run("generate", "star", "--size", "63", "--out", folder["out"]).OneLineError(5), StringComparison.Ordinal);
    }

    [Fact]
    public void A_checkpoint_with_a_missing_or_misshapen_tensor_names_it()
    {
        using var folder = new TemporaryFolder();
        const string Tensor = "model.connector.0.layers.0.mlp.down_proj.weight";
        // Both keep the header's length, so that nothing else of the file changes.
        foreach (var (name, find, replace) in new[]
        {
            ("missing", $"\"{Tensor}\"", $"\"{Tensor.Replace("down", "duwn", StringComparison.Ordinal)}\""),
            ("misshapen", $"\"{Tensor}\":{{\"dtype\":\"BF16\",\"shape\":[576,2304]", $"\"{Tensor}\":{{\"dtype\":\"BF16\",\"shape\":[2304,576]"),
        })
        {
            var model = CopyNano(folder, name);
            var path = Path.Combine(model, "metaquery.safetensors");
            var bytes = File.ReadAllBytes(path);
            var at = bytes.AsSpan().IndexOf(Encoding.ASCII.GetBytes(find));
            Assert.True(at > 0, $"{find} is not in the header");
            Encoding.ASCII.GetBytes(replace).CopyTo(bytes, at);
            File.WriteAllBytes(path, bytes);
            var line = CliProcess.Run("generate", "star", "--model", model, "--out", folder["out"]).OneLineError(5);
            Assert.Contains(Tensor, line, StringComparison.Ordinal);
            Assert.Contains("metaquery.safetensors", line, StringComparison.Ordinal);
        }
    }

    [RootFact]
    public void A_full_disk_is_one_line_and_nothing_half_written()
    {
        using var folder = new TemporaryFolder();
        using var disk = new SmallDisk(folder["disk"], "size=200k");
        var prompts = folder.Write("prompts.txt", string.Join('\n', Enumerable.Range(0, 20).Select(i => $"picture {i}")));
        var line = CliProcess.Run("job", "run", prompts, "--out", Path.Combine(disk.Path, "out"), "--steps", "1", "-n", "4").OneLineError(4);
        Assert.Contains("full", line, StringComparison.Ordinal);
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(disk.Path, "out"), "*.tar"));
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(disk.Path, "out"), "contact-sheet.png"));
    }

    [RootFact]
    public void A_read_only_folder_is_one_line()
    {
        using var folder = new TemporaryFolder();
        using var disk = new SmallDisk(folder["disk"], "size=1m,ro");
        var prompts = folder.Write("prompts.txt", "star\n");
        Assert.Contains("read-only", CliProcess.Run("job", "run", prompts, "--out", Path.Combine(disk.Path, "out"), "--steps", "1").OneLineError(4), StringComparison.Ordinal);
        Assert.Contains("read-only", CliProcess.Run("generate", "star", "--out", Path.Combine(disk.Path, "out")).OneLineError(4), StringComparison.Ordinal);
    }

    private static string CopyNano(TemporaryFolder folder, string name)
    {
        var target = folder[name];
        foreach (var file in Directory.EnumerateFiles(RepositoryFolders.NanoModel, "*", SearchOption.AllDirectories))
        {
            var copy = Path.Combine(target, Path.GetRelativePath(RepositoryFolders.NanoModel, file));
            Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
            if (file.EndsWith("metaquery.safetensors", StringComparison.Ordinal))
            {
                File.Copy(file, copy);
            }
            else
            {
                File.CreateSymbolicLink(copy, file);
            }
        }

        return target;
    }
}

/// <summary>A test that needs to mount a file system.</summary>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class RootFactAttribute : FactAttribute
{
    public RootFactAttribute()
    {
        if (!OperatingSystem.IsLinux() || !Environment.IsPrivilegedProcess || !SmallDisk.CanMount)
        {
            Skip = "needs the right to mount a tmpfs";
        }
    }
}

/// <summary>A tmpfs of its own.</summary>
internal sealed class SmallDisk : IDisposable
{
    private static readonly Lazy<bool> Mountable = new(() =>
    {
        using var folder = new TemporaryFolder();
        Directory.CreateDirectory(folder["probe"]);
        return Run("mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder["probe"]) == 0 && Run("umount", folder["probe"]) == 0;
    });

    public SmallDisk(string path, string options)
    {
        Path = path;
        Directory.CreateDirectory(path);
        Assert.Equal(0, Run("mount", "-t", "tmpfs", "-o", options, "tmpfs", path));
    }

    public static bool CanMount => Mountable.Value;

    public string Path { get; }

    public void Dispose() => Assert.Equal(0, Run("umount", Path));

    private static int Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, UseShellExecute = false })!;
        process.WaitForExit();
        return process.ExitCode;
    }
}
