using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class DiskConditionTierTests
{
    [Fact]
    public void A_folder_that_is_cleared_away_is_made_again_and_its_entries_are_misses()
    {
        using var work = new Workspace();
        var tier = new DiskConditionTier(work["conditions"], budgetBytes: 60); // one entry of 44 + 8 bytes: each write drops the one before, and looks again
        tier.Write(Items.Key("a"), new byte[8]);
        Directory.Delete(work["conditions"], recursive: true);
        Assert.Null(tier.TryRead(Items.Key("a"), out _));
        tier.Write(Items.Key("b"), new byte[8]);
        Directory.Delete(work["conditions"], recursive: true);
        tier.Write(Items.Key("c"), new byte[8]);
        Assert.Equal(8, tier.TryRead(Items.Key("c"), out _)!.Length);
        Assert.Single(Directory.GetFiles(work["conditions"]));
    }

    [Fact]
    public void An_entry_that_cannot_be_read_is_a_miss_and_not_a_damaged_one()
    {
        using var work = new Workspace();
        var tier = new DiskConditionTier(work["conditions"], 1 << 20);
        tier.Write(Items.Key("a"), new byte[8]);
        string path = Directory.GetFiles(work["conditions"]).Single();
        File.Delete(path);
        Directory.CreateDirectory(path); // reading it is an error
        Assert.Null(tier.TryRead(Items.Key("a"), out bool isCorrupt));
        Assert.False(isCorrupt);
    }
}
