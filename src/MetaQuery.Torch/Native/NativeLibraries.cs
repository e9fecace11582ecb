using System.Reflection;
using System.Runtime.InteropServices;

namespace TorchSharp.Native;

/// <summary>
/// Finds the native libraries and loads them in the one order that works: the boot library first, which sets threads, malloc and
/// CPU capability for the process, then the shim, which brings libtorch and OpenBLAS with it.
/// </summary>
internal static class NativeLibraries
{
    public const string Boot = "metaquery_boot", Torch = "metaquery_torch";

    static readonly Lock Gate = new();
    static nint _boot, _torch;

    /// <summary>Makes P/Invokes of this assembly find the libraries. Called from <see cref="NativeMethods"/>'s static constructor.</summary>
    public static void Register() => NativeLibrary.SetDllImportResolver(typeof(NativeLibraries).Assembly, Resolve);

    static nint Resolve(string name, Assembly assembly, DllImportSearchPath? searchPath)
    {
        if (name is not (Boot or Torch)) return 0;
        lock (Gate)
        {
            if (_boot == 0)
            {
                var folder = Folder();
                _boot = NativeLibrary.Load(FileIn(folder, Boot));
                unsafe { ((delegate* unmanaged<int>)NativeLibrary.GetExport(_boot, "mq_boot"))(); }
                if (name == Torch) _torch = NativeLibrary.Load(FileIn(folder, Torch));
            }
            else if (name == Torch && _torch == 0)
            {
                _torch = NativeLibrary.Load(FileIn(Folder(), Torch));
            }
            return name == Boot ? _boot : _torch;
        }
    }

    static string FileIn(string folder, string name) => Path.Combine(folder, $"lib{name}.so");

    static string Folder() => NativeFolder.Find("torch", $"lib{Torch}.so", typeof(NativeLibraries).Assembly);
}

/// <summary>Where a room's native libraries lie.</summary>
internal static class NativeFolder
{
    /// <summary>
    /// Looks for <paramref name="file"/> in the folder that the environment variable METAQUERY_NATIVE names, then beside the
    /// assembly, then in <c>.farm/native/<paramref name="room"/></c> of the assembly's repository (each parent folder in turn).
    /// </summary>
    /// <exception cref="DllNotFoundException">It lies in none of them; the message says how to build it.</exception>
    internal static string Find(string room, string file, Assembly assembly)
    {
        if (Environment.GetEnvironmentVariable("METAQUERY_NATIVE") is { Length: > 0 } named)
        {
            return File.Exists(Path.Combine(named, file))
                ? named
                : throw new DllNotFoundException($"METAQUERY_NATIVE={named} holds no {file}; build it with ./farm build");
        }
        var beside = Path.GetDirectoryName(assembly.Location) is { Length: > 0 } path ? path : AppContext.BaseDirectory;
        if (File.Exists(Path.Combine(beside, file))) return beside;
        for (var folder = new DirectoryInfo(beside); folder is not null; folder = folder.Parent)
        {
            var built = Path.Combine(folder.FullName, ".farm", "native", room);
            if (File.Exists(Path.Combine(built, file))) return built;
        }
        throw new DllNotFoundException($"{file} was not found beside {assembly.GetName().Name} nor in .farm/native/{room}; build it with ./farm build");
    }
}
