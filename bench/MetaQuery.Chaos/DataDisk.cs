using System.Diagnostics;
using System.Globalization;

namespace MetaQuery.Chaos;

/// <summary>The disk of head and workers: a small tmpfs that can be filled up, under a library that can slow its writes down.</summary>
internal sealed class DataDisk : IDisposable
{
    private const long BlockBytes = 1 << 16;

    private readonly string _mount;
    private readonly string _control;

    private DataDisk(string mount, string control, string library)
    {
        _mount = mount;
        _control = control;
        Library = library;
    }

    /// <summary>Where the head keeps its data.</summary>
    public string DataFolder => Path.Combine(_mount, "data");

    /// <summary>For LD_PRELOAD.</summary>
    public string Library { get; }

    /// <summary>What processes on this disk need in their environment.</summary>
    public IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["LD_PRELOAD"] = Library,
        ["METAQUERY_CHAOS_SLOW_DISK"] = _control,
    };

    private string Filler => Path.Combine(_mount, "filler");

    /// <summary>Mounts it and builds the library.</summary>
    /// <param name="folder">An empty folder of the run's own.</param>
    /// <exception cref="ChaosException">Not root, or no C++ compiler.</exception>
    public static DataDisk Create(string folder, int mebibytes)
    {
        var mount = Path.Combine(folder, "disk");
        Directory.CreateDirectory(mount);
        var source = Path.Combine(folder, "slowdisk.cpp");
        using (var embedded = typeof(DataDisk).Assembly.GetManifestResourceStream("slowdisk.cpp")!)
        using (var file = File.Create(source))
        {
            embedded.CopyTo(file);
        }

        var library = Path.Combine(folder, "slowdisk.so");
        Call("g++", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl");
        Call("mount", "-t", "tmpfs", "-o", $"size={mebibytes}m", "tmpfs", mount);
        return new DataDisk(mount, Path.Combine(folder, "slow"), library);
    }

    /// <summary>Takes every byte that is free.</summary>
    public void Fill()
    {
        using var file = new FileStream(Filler, FileMode.Create, FileAccess.Write, FileShare.None, bufferSize: 0);
        var block = new byte[BlockBytes];
        for (var size = block.Length; size > 0;)
        {
            try
            {
                file.Write(block.AsSpan(0, size));
            }
            catch (IOException)
            {
                size /= 2;
            }
        }
    }

    /// <summary>Gives back what <see cref="Fill"/> took.</summary>
    public void Free() => File.Delete(Filler);

    /// <summary>From now on each write and sync of a file takes so much longer.</summary>
    public void SlowDown(TimeSpan delay) => File.WriteAllText(_control, ((int)delay.TotalMilliseconds).ToString(CultureInfo.InvariantCulture));

    public void SpeedUp() => File.Delete(_control);

    public void Dispose() => Call("umount", _mount);

    private static void Call(string program, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
            var error = process.StandardError.ReadToEnd();
            process.WaitForExit();
            if (process.ExitCode != 0)
            {
                throw new ChaosException($"{program}: {error.Trim()}{(program == "mount" ? " (only root may mount a tmpfs)" : "")}");
            }
        }
        catch (System.ComponentModel.Win32Exception exception)
        {
            throw new ChaosException($"{program} is missing", exception);
        }
    }
}
