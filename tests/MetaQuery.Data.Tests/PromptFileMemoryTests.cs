using System.Globalization;

namespace MetaQuery.Data.Tests;

/// <summary>Alone, since it counts the bytes of the whole process.</summary>
[CollectionDefinition(nameof(PromptFileMemoryTests), DisableParallelization = true)]
[Collection(nameof(PromptFileMemoryTests))]
public sealed class PromptFileMemoryTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_hundred_thousand_prompts_are_read_in_memory_that_does_not_grow_with_them()
    {
        // 100,000 lines of 130 bytes: what is alive during the pass stays under 2 MB where the file has 13 MB
        string path = _folder["big.jsonl"];
        using (StreamWriter writer = new(path))
        {
            for (int i = 0; i < 100_000; i++)
            {
                writer.Write(string.Create(CultureInfo.InvariantCulture, $$"""{"prompt": "a photo of number {{i}} beside a rather long description that fills the line", "id": "prompt-{{i}}", "tag": "x"}"""));
                writer.Write('\n');
            }
        }

        PromptFile file = PromptFile.Open(path);
        PromptFileSummary summary = file.Validate();
        long before = GC.GetTotalMemory(forceFullCollection: true);
        long most = 0;
        foreach (PromptLine line in file.Read(summary))
        {
            if (line.Index % 25_000 == 24_999)
            {
                most = Math.Max(most, GC.GetTotalMemory(forceFullCollection: true) - before);
            }
        }

        Assert.Equal(100_000, summary.PromptCount);
        Assert.InRange(most, 0, 2_000_000);
    }
}
