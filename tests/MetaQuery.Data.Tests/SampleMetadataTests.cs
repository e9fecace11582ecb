using System.Text;
using System.Text.Json;

namespace MetaQuery.Data.Tests;

public sealed class SampleMetadataTests
{
    [Fact]
    public void Its_fields_and_their_order_never_change()
    {
        SampleMetadata sample = Sample(new PromptLine
        {
            Line = 3, Index = 1, Prompt = "a \"red\" <apple>, été 🍎", Id = "7", IdIsNumber = true,
            OtherFields = Encoding.UTF8.GetBytes("""
                "tag":"x","weights":[1.10, 2e3]
                """),
        });

        Assert.Equal(
            """
            {"key":"000000005","prompt":"a \"red\" <apple>, été \uD83C\uDF4E","negative_prompt":"","id":7,"prompt_index":1,"sample_index":2,"seed":18446744073709551615,"steps":20,"guidance":4.5,"width":64,"height":48,"model":"nano","model_revision":"abc","sha256":"ff","tag":"x","weights":[1.10, 2e3]}
            """,
            Text(sample.ToJson("ff")));
    }

    [Fact]
    public void Without_id_hash_and_other_fields_they_are_left_out()
    {
        SampleMetadata sample = Sample(new PromptLine { Line = 1, Index = 0, Prompt = "a" });

        using JsonDocument json = JsonDocument.Parse(sample.ToJson());

        Assert.Equal(
            ["key", "prompt", "negative_prompt", "prompt_index", "sample_index", "seed", "steps", "guidance", "width", "height", "model", "model_revision"],
            json.RootElement.EnumerateObject().Select(member => member.Name));
    }

    [Fact]
    public void Every_name_of_its_own_is_one_that_a_prompt_file_may_not_take_or_that_it_means()
    {
        using JsonDocument json = JsonDocument.Parse(Sample(new PromptLine { Line = 1, Index = 0, Prompt = "a", Id = "x" }).ToJson("ff"));

        Assert.All(
            json.RootElement.EnumerateObject().Select(member => member.Name),
            name => Assert.True(PromptFields.Known(name) != PromptField.Other || SampleMetadata.OwnFields.Contains(name), name));
    }

    [Theory]
    [InlineData(0.1f, "0.1")]
    [InlineData(7f, "7")]
    [InlineData(1e-7f, "1E-07")]
    public void Numbers_are_written_in_their_shortest_form(float guidance, string text)
    {
        SampleMetadata sample = Sample(new PromptLine { Line = 1, Index = 0, Prompt = "a" }) with { GuidanceScale = guidance };

        Assert.Contains($"\"guidance\":{text},", Text(sample.ToJson()), StringComparison.Ordinal);
    }

    private static SampleMetadata Sample(PromptLine prompt) => new()
    {
        Key = "000000005", Prompt = prompt, SampleIndex = 2, Seed = ulong.MaxValue, NumInferenceSteps = 20, GuidanceScale = 4.5f,
        WidthPixels = 64, HeightPixels = 48, ModelName = "nano", ModelRevision = "abc",
    };

    private static string Text(byte[] json) => Encoding.UTF8.GetString(json);
}
