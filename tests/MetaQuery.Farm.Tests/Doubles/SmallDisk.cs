using System.Diagnostics;

namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>A small tmpfs, for disks that are full or read-only. Only root can mount one.</summary>
internal sealed class SmallDisk : IDisposable
{
    private readonly string _path;

    private SmallDisk(string path) => _path = path;

    public static SmallDisk? TryMount(string path, int kibibytes, out string? why)
    {
        Directory.CreateDirectory(path);
        why = Environment.IsPrivilegedProcess ? Call("mount", "-t", "tmpfs", "-o", $"size={kibibytes}k", "tmpfs", path) : "only root may mount a tmpfs";
        return why is null ? new SmallDisk(path) : null;
    }

    public void Grow(int kibibytes) => Must("mount", "-o", $"remount,size={kibibytes}k", _path);

    public void MakeReadOnly() => Must("mount", "-o", "remount,ro", _path);

    /// <summary>Takes the last byte.</summary>
    /// <returns>The file that has it: without it there is room again.</returns>
    public string Fill()
    {
        string path = Path.Combine(_path, "filler");
        using var file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        foreach (int bytes in (int[])[4096, 1])
        {
            try
            {
                while (true)
                {
                    file.Write(new byte[bytes]);
                }
            }
            catch (IOException)
            {
                // full
            }
        }

        return path;
    }

    public void Dispose() => Must("umount", _path);

    private static void Must(string program, params string[] arguments) => Assert.Null(Call(program, arguments));

    private static string? Call(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true, UseShellExecute = false })!;
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0 ? null : $"{program}: {error.Trim()}";
    }
}
