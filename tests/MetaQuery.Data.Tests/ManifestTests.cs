using System.Text;

namespace MetaQuery.Data.Tests;

public sealed class ManifestTests : IDisposable
{
    private static readonly ManifestHeader Header = new()
    {
        JobHash = "ab12", JobSpecJson = """{"prompts":"p.txt","n":4}""", ModelRevision = "nano@1", NumericsFingerprint = "bf16 avx512 1 thread", ImageEncoding = "png/1",
    };

    private readonly TemporaryFolder _folder = new();

    private string FilePath => _folder[Manifest.FileName];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void The_lines_of_a_manifest_never_change()
    {
        using (Manifest manifest = Manifest.Create(FilePath, Header))
        {
            manifest.Append(Entry(0, "aa"));
            manifest.Append(Entry(1, "bb") with { SampleCount = 0, FirstKey = null, LastKey = null, FailedCount = 3 });
        }

        Assert.Equal(
            """
            {"format":"metaquery.manifest","version":1,"job":"ab12","model_revision":"nano@1","numerics":"bf16 avx512 1 thread","image_encoding":"png/1","spec":{"prompts":"p.txt","n":4}}
            {"shard":"00000.tar","sha256":"aa","bytes":10240,"samples":2,"first_key":"000000000","last_key":"000000001","failed":0}
            {"shard":"00001.tar","sha256":"bb","bytes":10240,"samples":0,"first_key":null,"last_key":null,"failed":3}

            """,
            File.ReadAllText(FilePath));
    }

    [Fact]
    public void It_reads_back_and_a_later_line_for_a_shard_supersedes_the_earlier()
    {
        using (Manifest manifest = Manifest.Create(FilePath, Header))
        {
            manifest.Append(Entry(0, "aa"));
            manifest.Append(Entry(1, "bb"));
        }

        using (Manifest manifest = Manifest.Open(FilePath))
        {
            Assert.Equal(Header, manifest.Header);
            manifest.Append(Entry(0, "cc"));
        }

        using Manifest read = Manifest.Load(FilePath);
        Assert.Equal([Entry(0, "cc"), Entry(1, "bb")], read.Shards.Values.OrderBy(entry => entry.Shard, StringComparer.Ordinal));
        Assert.Throws<InvalidOperationException>(() => read.Append(Entry(2, "dd")));
    }

    [Fact]
    public void What_a_kill_leaves_of_a_line_is_dropped_wherever_the_kill_fell()
    {
        using (Manifest manifest = Manifest.Create(FilePath, Header))
        {
            manifest.Append(Entry(0, "aa"));
        }

        byte[] good = File.ReadAllBytes(FilePath);
        using (Manifest manifest = Manifest.Open(FilePath))
        {
            manifest.Append(Entry(1, "bb"));
        }

        byte[] longer = File.ReadAllBytes(FilePath);
        for (int length = good.Length; length < longer.Length; length++)
        {
            _folder.Write(Manifest.FileName, longer[..length]);
            using (Manifest read = Manifest.Load(FilePath))
            {
                Assert.Single(read.Shards);
                Assert.Equal(length, new FileInfo(FilePath).Length); // reading changes nothing
            }

            using (Manifest manifest = Manifest.Open(FilePath))
            {
                manifest.Append(Entry(1, "bb"));
            }

            Assert.Equal(longer, File.ReadAllBytes(FilePath));
        }
    }

    [Fact]
    public void Zeros_that_a_loss_of_power_leaves_at_the_end_are_dropped()
    {
        Manifest.Create(FilePath, Header).Dispose();
        byte[] good = File.ReadAllBytes(FilePath);
        _folder.Write(Manifest.FileName, [.. good, .. new byte[40], (byte)'\n']);

        Manifest.Open(FilePath).Dispose();

        Assert.Equal(good, File.ReadAllBytes(FilePath));
    }

    [Theory]
    [InlineData("", "has no header line")]
    [InlineData("{\"format\":\"metaq", "has no header line")]
    [InlineData("{\"format\":\"other\",\"version\":1}\n", "line 1: the format is \"other\"")]
    [InlineData("{\"format\":\"metaquery.manifest\",\"version\":2}\n", "line 1: version 2 is not known here")]
    [InlineData("HEADER{\"shard\":\"x\"}\nHEADER", "line 2: ")]
    [InlineData("HEADERnot json\n", "line 2: ")]
    public void A_file_that_is_no_manifest_is_refused_with_its_line(string text, string what)
    {
        Manifest.Create(_folder["good"], Header).Dispose();
        _folder.Write(Manifest.FileName, text.Replace("HEADER", File.ReadAllText(_folder["good"]), StringComparison.Ordinal));

        ManifestException thrown = Assert.Throws<ManifestException>(() => Manifest.Open(FilePath));

        Assert.Contains(what, thrown.Message, StringComparison.Ordinal);
        Assert.StartsWith(FilePath, thrown.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_manifest_is_created_once_and_may_be_read_while_it_is_written()
    {
        using Manifest manifest = Manifest.Create(FilePath, Header);

        Assert.Throws<ManifestException>(() => Manifest.Create(FilePath, Header));
        manifest.Append(Entry(0, "aa"));
        using Manifest read = Manifest.Load(FilePath);
        Assert.Single(read.Shards);
    }

    [Fact]
    public void A_specification_that_is_no_object_on_one_line_is_refused()
    {
        Assert.Throws<ArgumentException>(() => Manifest.Create(FilePath, Header with { JobSpecJson = "[1]" }));
        Assert.Throws<ArgumentException>(() => Manifest.Create(FilePath, Header with { JobSpecJson = "{\n}" }));
        Assert.Empty(_folder.Names());
    }

    [Fact]
    public void Lines_appended_from_many_threads_all_stand()
    {
        using (Manifest manifest = Manifest.Create(FilePath, Header))
        {
            Parallel.For(0, 40, i => manifest.Append(Entry(i, "aa")));
        }

        using Manifest read = Manifest.Load(FilePath);
        Assert.Equal(40, read.Shards.Count);
    }

    private static ShardEntry Entry(int shard, string sha256) => new()
    {
        Shard = $"{shard:D5}.tar", Sha256 = sha256, ByteLength = 10_240, SampleCount = 2, FirstKey = $"{shard:D5}0000", LastKey = $"{shard:D5}0001",
    };
}
