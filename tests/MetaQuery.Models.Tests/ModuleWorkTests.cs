using System.Text.Json;
using MetaQuery.TestKit;

namespace MetaQuery.Models.Tests;

/// <summary>The counts that the benchmark divides by, against those that PyTorch's counter gave for the reference's modules.</summary>
[LeakCheck]
public sealed class ModuleWorkTests
{
    private static readonly JsonElement Models = JsonDocument.Parse(
        File.ReadAllText(Path.Combine(RepositoryFolders.VisibleFixtures, "diffusion", "perf-shapes.json"))).RootElement.GetProperty("models");

    [Theory]
    [InlineData(64)]
    [InlineData(256)]
    [InlineData(512)]
    public void Sanas_counts_are_those_of_the_reference(int tokens)
    {
        var model = Models.GetProperty($"sana-1600m, {tokens} condition tokens, one forward");
        var context = ModuleWork.SanaContext(2240, 2304, 2240, 20, tokens);
        var step = ModuleWork.SanaStep(2240, 32, 2240, 2.5, 20, 32, 32, 1, 256, tokens);
        Assert.Equal(model.GetProperty("flops_that_depend_on_the_condition_only").GetDouble() / 1e9, context, context * 1e-9);
        // the reference's counter sees attention's scores in one of three forms, less than a thousandth of all
        Assert.Equal(model.GetProperty("flops").GetDouble() / 1e9, context + step, step * 1e-3);
    }

    [Theory]
    [InlineData("qwen2.5-vl-3b", 2048, 11008, 36, 16, 2)]
    [InlineData("qwen2.5-vl-7b", 3584, 18944, 28, 28, 4)]
    [InlineData("llava-onevision-qwen2-0.5b", 896, 4864, 24, 14, 2)]
    public void The_language_models_and_connectors_counts_are_those_of_the_reference(string name, int hidden, int intermediate, int layers, int heads, int keyHeads)
    {
        var expected = Models.GetProperty($"{name} language model, 320 tokens (256 queries)").GetProperty("flops").GetDouble() / 1e9;
        Assert.Equal(expected, ModuleWork.LanguageModel(hidden, intermediate, layers, heads, keyHeads, hidden / heads, 320), expected * 1e-9);
        expected = Models.GetProperty($"connector for {name} and Sana, 256 queries").GetProperty("flops").GetDouble() / 1e9;
        Assert.Equal(expected, ModuleWork.Connector(hidden, 4 * hidden, 24, hidden / 64, 2304, 256), expected * 1e-9);
    }
}
