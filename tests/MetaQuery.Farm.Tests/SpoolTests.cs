using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class SpoolTests
{
    [Fact]
    public void A_spool_cut_at_any_byte_keeps_every_whole_record_before_the_cut()
    {
        using var work = new Workspace();
        (byte[] whole, List<long> ends) = Fill(work["good"]);
        for (int length = 0; length <= whole.Length; length++)
        {
            File.WriteAllBytes(work["cut"], whole[..length]);
            int expected = ends.Count(end => end <= length);
            using (var spool = new SampleSpool(work["cut"], 10, 5))
            {
                Assert.Equal(expected, spool.Count);
                Assert.Equal(length - (expected == 0 ? 0 : ends[expected - 1]), spool.CutBytes);
                Assert.True(expected == 5 || spool.Append(SpoolKind.Sample, 14, [1], [2], [3]) || spool.KindOf(14) is not null);
            }

            using var again = new SampleSpool(work["cut"], 10, 5);
            Assert.Equal(0, again.CutBytes);
            Assert.NotNull(again.KindOf(14));
        }
    }

    [Fact]
    public void A_wrong_bit_anywhere_loses_its_record_and_what_follows_and_nothing_before()
    {
        using var work = new Workspace();
        (byte[] whole, List<long> ends) = Fill(work["good"]);
        for (int i = 0; i < whole.Length; i++)
        {
            byte[] bad = [.. whole];
            bad[i] ^= 1;
            File.WriteAllBytes(work["bad"], bad);
            using var spool = new SampleSpool(work["bad"], 10, 5);
            Assert.Equal(ends.Count(end => end <= i), spool.Count);
            foreach (long position in spool.Positions(SpoolKind.Sample).Concat(spool.Positions(SpoolKind.Failure)))
            {
                Assert.Equal(Image(position), spool.TryRead(position)!.Value.First);
            }
        }
    }

    [Fact]
    public void A_second_record_for_a_sample_changes_nothing()
    {
        using var work = new Workspace();
        using var spool = new SampleSpool(work["spool"], 0, 5);
        Assert.True(spool.Append(SpoolKind.Sample, 3, [1, 2], [3], []));
        Assert.False(spool.Append(SpoolKind.Sample, 3, [9], [9], [9]));
        Assert.False(spool.Append(SpoolKind.Failure, 3, [9], [], []));
        Assert.Equal([1, 2], spool.TryRead(3)!.Value.First);
        Assert.Equal(0, spool.FailureCount);
    }

    [Fact]
    public void Many_unfinished_shards_need_few_open_files_and_lose_nothing()
    {
        using var work = new Workspace();
        var layout = new MetaQuery.Data.ShardLayout { SamplesPerShard = 1 };
        using (var shelf = new SpoolShelf(work.Root, layout, totalSamples: 200))
        {
            for (int round = 0; round < 2; round++)
            {
                for (long shard = 0; shard < 200; shard++)
                {
                    Assert.Equal(round == 0, shelf.Append(shard, SpoolKind.Sample, shard, Image(shard), "caption"u8, "{}"u8));
                    Assert.InRange(shelf.Shards.Count(other => shelf.Find(other)!.IsOpen), 0, SpoolShelf.MostOpen);
                }
            }

            shelf.Flush();
            Assert.All(shelf.Shards, shard => Assert.Equal(Image(shard), shelf.Find(shard)!.TryRead(shard)!.Value.First));
            Assert.InRange(shelf.Shards.Count(other => shelf.Find(other)!.IsOpen), 0, SpoolShelf.MostOpen);
        }

        using var again = new SpoolShelf(work.Root, layout, totalSamples: 200);
        Assert.Equal(Enumerable.Range(0, 200).Select(shard => (long)shard), again.ListFiles());
        Assert.All(again.ListFiles(), shard => Assert.True(again.Get(shard).IsFull));
    }

    private static (byte[] Whole, List<long> Ends) Fill(string path)
    {
        var ends = new List<long>();
        using (var spool = new SampleSpool(path, 10, 5))
        {
            foreach (long position in new long[] { 12, 10, 14, 11, 13 })
            {
                spool.Append(position == 11 ? SpoolKind.Failure : SpoolKind.Sample, position, Image(position), "caption"u8, "{}"u8);
                ends.Add(new FileInfo(path).Length);
            }
        }

        return (File.ReadAllBytes(path), ends);
    }

    private static byte[] Image(long position) => [.. Enumerable.Range(0, 20).Select(i => (byte)(position + i))];
}
