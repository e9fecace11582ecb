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
