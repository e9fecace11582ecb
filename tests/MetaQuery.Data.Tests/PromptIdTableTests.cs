using System.Globalization;
using FsCheck.Xunit;

namespace MetaQuery.Data.Tests;

public sealed class PromptIdTableTests
{
    [Fact]
    public void Two_hundred_thousand_ids_are_told_apart_and_found_again()
    {
        using var table = new PromptIdTable();
        for (int i = 1; i <= 200_000; i++)
        {
            Assert.True(table.TryAdd(i.ToString(CultureInfo.InvariantCulture), i, out _));
        }

        for (int i = 1; i <= 200_000; i += 97)
        {
            Assert.False(table.TryAdd(i.ToString(CultureInfo.InvariantCulture), 1_000_000, out long earlier));
            Assert.Equal(i, earlier);
        }
    }

    [Property(MaxTest = 300)]
    public bool It_agrees_with_a_dictionary(FsCheck.NonNull<string>[] ids)
    {
        using var table = new PromptIdTable();
        var lines = new Dictionary<string, long>(StringComparer.Ordinal);
        long line = 0;
        return ids.All(id =>
        {
            line++;
            bool added = lines.TryAdd(id.Get, line);
            return table.TryAdd(id.Get, line, out long earlier) == added && (added || earlier == lines[id.Get]);
        });
    }

    [Fact]
    public void Ids_that_differ_in_length_or_in_one_bit_are_different()
    {
        using var table = new PromptIdTable();
        string[] ids = ["a", "a\0", "a\0\0", "a\0\0\0", "a\0\0\0\0", "", "\0", "b", "aaaa", "aaab", "aaaaaaaa", "aaaaaaab", "aaaaaaaaa"];

        Assert.All(ids, id => Assert.True(table.TryAdd(id, 1, out _), id));
    }
}
