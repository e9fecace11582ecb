using System.Diagnostics;
using System.Globalization;

namespace MetaQuery.Chaos;

/// <summary>The disk of head and workers: it can be full, and it can be slow.</summary>
/// <remarks>For root it is a small tmpfs that is filled to its last byte. For others, who may mount none, the preloaded library that slows writes down refuses them, too.</remarks>
internal sealed class DataDisk : IDisposable
{
    private const long BlockBytes = 1 << 16;

    private readonly string _folder;
    private readonly string _control;
    private int _delayMilliseconds;
    private bool _isRefusing;

    private DataDisk(string folder, string control, string library, bool isMounted)
    {
        _folder = folder;
        _control = control;
        Library = library;
        IsMounted = isMounted;
    }

    /// <summary>Whether it is a file system of its own, really full.</summary>
    public bool IsMounted { get; }

    /// <summary>Where the head keeps its data.</summary>
    public string DataFolder => Path.Combine(_folder, "data");

    /// <summary>For LD_PRELOAD.</summary>
    public string Library { get; }

    /// <summary>What processes on this disk need in their environment.</summary>
    public IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string>(StringComparer.Ordinal)
    {
        ["LD_PRELOAD"] = Library,
        ["METAQUERY_CHAOS_DISK"] = _folder,
        ["METAQUERY_CHAOS_DISK_CONTROL"] = _control,
    };

    private string Filler => Path.Combine(_folder, "filler");

    /// <summary>Makes it, and builds the library.</summary>
    /// <param name="folder">An empty folder of the run's own.</param>
    /// <param name="mebibytes">Size of the tmpfs.</param>
    /// <param name="mounts">False to do without a tmpfs also where one may be mounted.</param>
    /// <exception cref="ChaosException">There is no C++ compiler, or the tmpfs cannot be mounted.</exception>
    public static DataDisk Create(string folder, int mebibytes, bool mounts)
    {
        var disk = Path.Combine(folder, "disk");
        Directory.CreateDirectory(disk);
        var source = Path.Combine(folder, "faultydisk.cpp");
        using (var embedded = typeof(DataDisk).Assembly.GetManifestResourceStream("faultydisk.cpp")!)
        using (var file = File.Create(source))
        {
            embedded.CopyTo(file);
        }

        var library = Path.Combine(folder, "faultydisk.so");
        Call("g++", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl");
        if (mounts)
        {
            Call("mount", "-t", "tmpfs", "-o", $"size={mebibytes}m", "tmpfs", disk);
        }

        return new DataDisk(disk, Path.Combine(folder, "disk-control"), library, mounts);
    }

    /// <summary>From now on nothing more can be written.</summary>
    public void Fill()
    {
        if (!IsMounted)
        {
            _isRefusing = true;
            Control();
            return;
        }

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
    public void Free()
    {
        _isRefusing = false;
        Control();
        File.Delete(Filler);
    }

    /// <summary>From now on each write and sync of a file takes so much longer.</summary>
    public void SlowDown(TimeSpan delay)
    {
        _delayMilliseconds = (int)delay.TotalMilliseconds;
        Control();
    }

    public void SpeedUp() => SlowDown(TimeSpan.Zero);

    public void Dispose()
    {
        if (IsMounted)
        {
            Call("umount", "--lazy", _folder); // whoever still looks into it, a shell perhaps, does not keep it
        }
    }

    private void Control()
    {
        // renamed into place: a process that looks meanwhile must not read half of it
        File.WriteAllText(_control + ".new", string.Create(CultureInfo.InvariantCulture, $"{_delayMilliseconds} {(_isRefusing ? 1 : 0)}"));
        File.Move(_control + ".new", _control, overwrite: true);
    }

    private static void Call(string program, params string[] arguments)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardError = true })!;
            var error = process.StandardError.ReadToEnd();
            process.WaitForExit();
            if (process.ExitCode != 0)
            {
                throw new ChaosException($"{program}: {error.Trim()}");
            }
        }
        catch (System.ComponentModel.Win32Exception exception)
        {
            throw new ChaosException($"{program} is missing", exception);
        }
    }
}
