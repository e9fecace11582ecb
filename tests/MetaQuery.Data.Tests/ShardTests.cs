using System.Diagnostics;
using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text;
using FsCheck;
using FsCheck.Fluent;
using FsCheck.Xunit;

namespace MetaQuery.Data.Tests;

public sealed class ShardTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_bytes_of_a_shard_never_change()
    {
        ShardEntry entry = WriteSmall("00000.tar");

        byte[] bytes = File.ReadAllBytes(_folder["00000.tar"]);
        Assert.True(FrozenShard == Convert.ToHexStringLower(SHA256.HashData(bytes)), Convert.ToHexStringLower(SHA256.HashData(bytes)));
        Assert.Equal(
            new ShardEntry { Shard = "00000.tar", Sha256 = FrozenShard, ByteLength = 10_240, SampleCount = 2, FirstKey = "000000000", LastKey = "000000001" },
            entry);

        // the first header, field by field: what is frozen is ustar as POSIX.1-1988 has it
        string header = Encoding.Latin1.GetString(bytes, 0, 512);
        Assert.Equal("000000000.json" + new string('\0', 86), header[..100]);
        Assert.Equal("0000444\0" + "0000000\0" + "0000000\0" + "00000000007\0" + "02263523000\0", header[100..148]);
        Assert.Equal("0" + new string('\0', 100) + "ustar\0" + "00" + new string('\0', 64) + "0000000\0" + "0000000\0", header[156..345]);
        Assert.Equal("{\"a\":1}", Encoding.ASCII.GetString(bytes, 512, 7));
    }

    [Fact]
    public void The_same_samples_give_the_same_shard_whatever_its_name_and_place()
    {
        ShardEntry first = WriteSmall("00000.tar");
        Directory.CreateDirectory(_folder["elsewhere"]);
        using var writer = new WebDatasetShardWriter(_folder["elsewhere"], "00007.tar");
        AddSmall(writer);

        Assert.Equal(first.Sha256, writer.Commit().Sha256);
    }

    [Property(MaxTest = 60)]
    public Property Any_samples_read_back_as_they_were_here_and_by_NETs_own_reader() => Prop.ForAll(
        Gen.Choose(0, 3000).SelectMany(size => Gen.Choose(0, 255).Select(value => Enumerable.Repeat((byte)value, size).ToArray())).ListOf().ToArbitrary(),
        contents =>
        {
            var layout = new ShardLayout { SamplesPerShard = 1000 };
            string name = "x.tar";
            using (var writer = new WebDatasetShardWriter(_folder.Path, name))
            {
                for (int i = 0; i < contents.Count; i++)
                {
                    writer.Add(layout.Key(i), new ShardFile("txt", "t"u8.ToArray()), new ShardFile("png", contents[i]));
                }

                writer.Commit();
            }

            ShardSample[] samples = [.. WebDatasetShardReader.Read(_folder[name])];
            Assert.Equal(contents, samples.Select(sample => sample.Find("png")!.Value.ToArray()));
            ShardIndex index = ShardIndex.Open(_folder[name]);
            Assert.Equal(samples.Select(sample => sample.Key), index.Keys);
            Assert.Equal(contents, index.Keys.Select(key => index.Read(key)!.Find("png")!.Value.ToArray()));
            Assert.Null(index.Read("no such key"));
            Assert.Equal(contents.SelectMany((_, i) => new[] { layout.Key(i) + ".png", layout.Key(i) + ".txt" }), TarNames(_folder[name]));
        });

    [PythonFact]
    public void Pythons_tarfile_reads_a_shard()
    {
        WriteSmall("00000.tar");
        string? text = PythonFactAttribute.Run("python3", "-c", """
            import sys, tarfile
            with tarfile.open(sys.argv[1]) as tar:
                for m in tar:
                    print(m.name, m.size, oct(m.mode), m.mtime, m.uid, m.uname, m.isfile(), tar.extractfile(m).read()[:7])
            """, _folder["00000.tar"]);

        Assert.StartsWith("000000000.json 7 0o444 315532800 0  True b'{\"a\":1}'", text, StringComparison.Ordinal);
        Assert.Equal(6, text!.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
    }

    [Theory]
    [InlineData(10_000, 0, "00000.tar", "000000000")]
    [InlineData(10_000, 12_345, "00001.tar", "000012345")]
    [InlineData(1, 7, "00007.tar", "000070")]
    [InlineData(100, 99, "00000.tar", "0000099")]
    [InlineData(101, 101, "00001.tar", "00001000")]
    public void Names_and_keys_are_img2datasets(int samplesPerShard, long position, string shard, string key)
    {
        ShardLayout layout = ShardLayout.For(totalSamples: 20_000, samplesPerShard);

        Assert.Equal(shard, layout.ShardName(layout.ShardOf(position)));
        Assert.Equal(key, layout.Key(position));
    }

    [Fact]
    public void More_than_a_hundred_thousand_shards_get_more_digits()
    {
        Assert.Equal(5, ShardLayout.For(100_000, 1).ShardDigits);
        Assert.Equal(6, ShardLayout.For(100_001, 1).ShardDigits);
        Assert.Throws<ArgumentOutOfRangeException>(() => new ShardLayout().ShardName(100_000));
    }

    [Theory]
    [InlineData("b", "png", "a", "png")]
    [InlineData("a", "png", "a", "png")]
    [InlineData("", "png", null, null)]
    [InlineData("a.b", "png", null, null)]
    [InlineData("a/b", "png", null, null)]
    [InlineData("a", "", null, null)]
    [InlineData("a", "../x", null, null)]
    public void Keys_out_of_order_and_names_that_WebDataset_would_misread_are_refused(string key, string extension, string? next, string? nextExtension)
    {
        using var writer = new WebDatasetShardWriter(_folder.Path, "x.tar");

        Assert.Throws<ArgumentException>(() =>
        {
            writer.Add(key, new ShardFile(extension, default));
            writer.Add(next!, new ShardFile(nextExtension!, default));
        });
    }

    [Fact]
    public void A_shard_that_is_not_committed_leaves_nothing_behind()
    {
        using (var writer = new WebDatasetShardWriter(_folder.Path, "x.tar"))
        {
            AddSmall(writer);
            Assert.Single(_folder.Names());
            Assert.False(File.Exists(_folder["x.tar"]));
        }

        Assert.Empty(_folder.Names());
    }

    [Fact]
    public void Every_cut_of_a_shard_is_noticed()
    {
        WriteSmall("x.tar");
        byte[] whole = File.ReadAllBytes(_folder["x.tar"]);
        for (int length = 0; length < 6 * 1024; length += 171)
        {
            _folder.Write("cut.tar", whole[..length]);
            Assert.Throws<ShardFormatException>(() => WebDatasetShardReader.Read(_folder["cut.tar"]).Count());
            Assert.Throws<ShardFormatException>(() => ShardIndex.Open(_folder["cut.tar"]));
        }
    }

    [Property(MaxTest = 500)]
    public bool A_damaged_shard_gives_samples_or_an_error_and_nothing_else(ushort place, byte value)
    {
        byte[] bytes = [.. SmallShard.Value];
        bytes[place % bytes.Length] = value;
        try
        {
            return WebDatasetShardReader.Read(new MemoryStream(bytes), "x").Count() <= 6;
        }
        catch (ShardFormatException)
        {
            return true;
        }
    }

    private const string FrozenShard = "ac706fa74361d21f20e4cad3826b091acf41382e8e375d6be36bbdf6d1a02162";

    private static readonly Lazy<byte[]> SmallShard = new(static () =>
    {
        using var test = new ShardTests();
        test.WriteSmall("x.tar");
        return File.ReadAllBytes(test._folder["x.tar"]);
    });

    private ShardEntry WriteSmall(string name)
    {
        using var writer = new WebDatasetShardWriter(_folder.Path, name);
        AddSmall(writer);
        return writer.Commit();
    }

    private static void AddSmall(WebDatasetShardWriter writer)
    {
        var layout = new ShardLayout();
        for (int i = 0; i < 2; i++)
        {
            writer.Add(
                layout.Key(i),
                new ShardFile("txt", Encoding.UTF8.GetBytes("a red apple, noto style")),
                new ShardFile("png", new byte[513]),
                new ShardFile("json", Encoding.UTF8.GetBytes("{\"a\":1}")));
        }
    }

    private static string[] TarNames(string path)
    {
        using var tar = new TarReader(File.OpenRead(path));
        var names = new List<string>();
        while (tar.GetNextEntry() is TarEntry entry)
        {
            names.Add(entry.Name);
        }

        return [.. names];
    }
}

/// <summary>A test beside Python's own libraries: skipped by name where there is no python3.</summary>
public sealed class PythonFactAttribute : FactAttribute
{
    public PythonFactAttribute() => Skip = Run("python3", "--version") is null ? "there is no python3 here" : null;

    internal static string? Run(string program, params string[] arguments)
    {
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(program, arguments) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true })!;
            string text = process.StandardOutput.ReadToEnd();
            process.WaitForExit();
            return process.ExitCode == 0 ? text : null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }
}
