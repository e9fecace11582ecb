using System.Diagnostics;

namespace MetaQuery.Data.Tests;

public sealed class AtomicFileTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_file_appears_whole_or_keeps_its_old_content()
    {
        AtomicFile.WriteAllBytes(_folder["a"], "old"u8);
        using (AtomicFile file = AtomicFile.Create(_folder["a"]))
        {
            file.Stream.Write("half of the n"u8);
            Assert.Equal("old", File.ReadAllText(_folder["a"]));
        }

        Assert.Equal(["a"], _folder.Names());
        Assert.Equal("old", File.ReadAllText(_folder["a"]));

        AtomicFile.WriteAllBytes(_folder["a"], "new"u8);
        Assert.Equal("new", File.ReadAllText(_folder["a"]));
        Assert.Equal(["a"], _folder.Names());
    }

    [Fact]
    public void What_a_killed_writer_left_is_removed_and_nothing_else()
    {
        _folder.Write("a", "kept");
        _folder.Write(".hidden", "kept");
        AtomicFile killed = AtomicFile.Create(_folder["a"]); // never committed, never disposed of, as after kill -9
        killed.Stream.Flush();
        Assert.Equal(3, _folder.Names().Length);

        AtomicFile.RemoveLeftovers(_folder.Path);

        Assert.Equal([".hidden", "a"], _folder.Names());
        killed.Dispose();
    }

    [Fact]
    public void A_folder_that_is_not_there_is_named() =>
        Assert.Equal(StorageFault.NotFound, Assert.Throws<StorageException>(() => AtomicFile.WriteAllBytes(_folder["no/such/a"], "x"u8)).Fault);

    [LinuxFact]
    public void A_file_in_a_folder_s_place_is_called_one()
    {
        string file = _folder["p.txt"];
        File.WriteAllText(file, "x");
        StorageException exception = StorageException.From(Assert.ThrowsAny<IOException>(() => Directory.CreateDirectory(Path.Combine(file, "jobs"))), file);
        Assert.Equal((StorageFault.NotFound, $"{file} is a file; name a folder"), (exception.Fault, exception.Message));
        Assert.Equal(exception.Message, Assert.Throws<StorageException>(() => AtomicFile.WriteAllBytes(Path.Combine(file, "jobs", "a"), "x"u8)).Message);
    }

    [LinuxFact]
    public void A_full_device_is_told_apart_from_other_errors()
    {
        using var full = new FileStream("/dev/full", FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);

        StorageException exception = StorageException.From(Assert.ThrowsAny<IOException>(() => full.Write("x"u8)), "/dev/full");

        Assert.Equal((StorageFault.DiskFull, true), (exception.Fault, exception.IsTransient));
        Assert.Equal("/dev/full: the disk is full", exception.Message);
    }

    [SmallDiskFact]
    public void A_full_disk_leaves_nothing_under_a_final_name()
    {
        using var disk = new SmallDisk(kibibytes: 64);
        using (Manifest manifest = Manifest.Create(disk[Manifest.FileName], new ManifestHeader
        {
            JobHash = "a", JobSpecJson = "{}", ModelRevision = "b", NumericsFingerprint = "c", ImageEncoding = "d",
        }))
        {
            long before = new FileInfo(disk[Manifest.FileName]).Length;
            StorageException shard = Assert.Throws<StorageException>(() =>
            {
                using var writer = new WebDatasetShardWriter(disk.Path, "00000.tar");
                for (int i = 0; i < 100; i++)
                {
                    writer.Add($"{i:D9}", new ShardFile("png", new byte[4096]));
                }

                writer.Commit();
            });
            Assert.Equal((StorageFault.DiskFull, $"{disk["00000.tar"]}: the disk is full"), (shard.Fault, shard.Message));
            Assert.Equal([Manifest.FileName], Directory.EnumerateFiles(disk.Path).Select(Path.GetFileName));

            StorageException whole = Assert.Throws<StorageException>(() => AtomicFile.WriteAllBytes(disk["a.png"], new byte[100_000]));
            Assert.Equal(StorageFault.DiskFull, whole.Fault);

            // the manifest's line that does not fit leaves the lines before it as they were
            File.WriteAllBytes(disk["filler"], new byte[(60 << 10) - 4096 + 4096]);
            Assert.ThrowsAny<IOException>(() => File.WriteAllBytes(disk["rest"], new byte[8192]));
            StorageException line = Assert.Throws<StorageException>(() =>
            {
                for (int i = 0; i < 60; i++)
                {
                    manifest.Append(new ShardEntry { Shard = $"{i:D5}.tar", Sha256 = new string('a', 64), ByteLength = 1, SampleCount = 1, FirstKey = "a", LastKey = "b" });
                }
            });
            Assert.Equal(StorageFault.DiskFull, line.Fault);
            Assert.True(new FileInfo(disk[Manifest.FileName]).Length > before);
        }

        using Manifest read = Manifest.Load(disk[Manifest.FileName]);
        Assert.All(read.Shards.Values, entry => Assert.Equal(64, entry.Sha256.Length));
        Assert.EndsWith("}\n", File.ReadAllText(disk[Manifest.FileName]), StringComparison.Ordinal);
    }

    [SmallDiskFact]
    public void A_read_only_disk_is_named_as_such()
    {
        using var disk = new SmallDisk(kibibytes: 64, readOnly: true);

        StorageException thrown = Assert.Throws<StorageException>(() => AtomicFile.WriteAllBytes(disk["a"], "x"u8));

        Assert.Equal((StorageFault.ReadOnly, $"{disk["a"]}: the file system is read-only"), (thrown.Fault, thrown.Message));
    }
}

public sealed class LinuxFactAttribute : FactAttribute
{
    public LinuxFactAttribute() => Skip = OperatingSystem.IsLinux() ? null : "needs /dev/full";
}

/// <summary>A test on a tmpfs of its own: where this user may not mount one, it is skipped by name.</summary>
public sealed class SmallDiskFactAttribute : FactAttribute
{
    private static readonly Lazy<string?> Reason = new(static () =>
    {
        try
        {
            new SmallDisk(kibibytes: 16).Dispose();
            return null;
        }
        catch (Exception exception) when (exception is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            return $"no tmpfs can be mounted here: {exception.Message}";
        }
    });

    public SmallDiskFactAttribute() => Skip = Reason.Value;
}

internal sealed class SmallDisk : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public SmallDisk(int kibibytes, bool readOnly = false)
    {
        Path = _folder["disk"];
        Directory.CreateDirectory(Path);
        Run("mount", "-t", "tmpfs", "-o", $"size={kibibytes}k{(readOnly ? ",ro" : "")}", "tmpfs", Path);
    }

    public string Path { get; }

    public string this[string name] => System.IO.Path.Combine(Path, name);

    public void Dispose()
    {
        Run("umount", Path);
        _folder.Dispose();
    }

    private static void Run(string program, params string[] arguments)
    {
        using Process process = Process.Start(new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardError = true })!;
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
        {
            throw new InvalidOperationException(error.ReplaceLineEndings(" ").Trim());
        }
    }
}
