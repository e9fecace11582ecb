using System.Text.Json;

namespace MetaQuery.Data.Tests;

/// <summary>Pictures that prompt files name.</summary>
public sealed class PromptPictureTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void A_line_names_one_picture_or_several_and_how_much_they_guide()
    {
        PromptLine[] lines = Read("p.jsonl", """
            {"prompt":"make it red","images":["cat.png","sub/b ä.jpg"],"image_guidance_scale":2.5}
            {"prompt":"x","images":"one.png","image_guidance":1}
            {"prompt":"no pictures","images":[]}
            {"prompt":"none","images":null,"other":"images"}
            """);
        Assert.Equal(["cat.png", "sub/b ä.jpg"], lines[0].Images);
        Assert.Equal(["one.png"], lines[1].Images);
        Assert.Equal([2.5f, 1f, null, null], lines.Select(line => line.ImageGuidanceScale));
        Assert.Equal([2, 1, 0, 0], lines.Select(line => line.Images.Count));
        Assert.All(lines, line => Assert.Empty(line.Pictures));
    }

    [Theory]
    [InlineData("{\"images\":[\"a.png\"]}")]
    [InlineData("{\"prompt\":\"\",\"images\":[\"a.png\"]}")]
    [InlineData("{\"images\":[\"a.png\"],\"prompt\":\"  \"}")]
    [InlineData("{\"images\":[\"a.png\"],\"prompt\":null}")]
    public void A_picture_needs_no_prompt(string line)
    {
        PromptLine only = Assert.Single(Read("p.jsonl", line));
        Assert.Equal(("", 1), (only.Prompt, only.Images.Count));
    }

    [Fact]
    public void A_csv_cell_is_one_picture_or_a_JSON_list()
    {
        PromptLine[] lines = Read("p.csv", "prompt,images,image_guidance\nx,a.png,2\ny,\"[\"\"a.png\"\",\"\"b, c.png\"\"]\",\nz,,\n,d.png,\n");
        Assert.Equal([["a.png"], ["a.png", "b, c.png"], [], ["d.png"]], lines.Select(line => line.Images));
        Assert.Equal([2f, null, null, null], lines.Select(line => line.ImageGuidanceScale));
    }

    [Theory]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"images\":3}", "the field \"images\" is a number; it should be a list of texts")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"images\":[\"x\",3]}", "the field \"images\" is a list of other things; it should be a list of texts")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"images\":[[\"x\"]]}", "should be a list of texts")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"images\":[\"\"]}", "picture 1 of the field \"images\" is no path and no data: URI")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"images\":[\"x\"],\"images\":[\"y\"]}", "the field \"images\" stands twice")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"images\":[\"x\"],\"image_guidance\":101}", "image guidance 101 is not a number from 0 to 100")]
    [InlineData("p.jsonl", "{\"prompt\":\"a\",\"images\":[\"x\"],\"image_guidance_scale\":\"2\"}", "should be a number")]
    [InlineData("p.jsonl", "{\"prompt\":\"\",\"images\":[]}", "the prompt is empty")]
    [InlineData("p.jsonl", "{\"images\":[]}", "has no \"prompt\"")]
    [InlineData("p.csv", "prompt,images\nx,[1]\n", "the field \"images\" is no JSON list of texts")]
    [InlineData("p.csv", "prompt,images\nx,[\n", "begins as a JSON list and is none")]
    public void What_is_wrong_with_the_field_is_told(string name, string text, string what)
    {
        PromptFile file = PromptFile.Open(_folder.Write(name, text));
        Assert.Contains(what, Assert.Throws<PromptLineException>(() => file.Validate()).Error.What, StringComparison.Ordinal);
    }

    [Fact]
    public void Sixteen_pictures_are_the_most()
    {
        string Line(int count) => $"{{\"prompt\":\"a\",\"images\":[{string.Join(',', Enumerable.Range(0, count).Select(i => $"\"{i}.png\""))}]}}";
        Assert.Equal(16, Assert.Single(Read("p.jsonl", Line(16))).Images.Count);
        PromptFile file = PromptFile.Open(_folder.Write("q.jsonl", Line(17)));
        Assert.Contains("names 17 pictures; a prompt may have 16", Assert.Throws<PromptLineException>(() => file.Validate()).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_line_may_hold_a_picture_of_several_megabytes_as_a_data_URI()
    {
        string uri = "data:image/png;base64," + new string('A', 6 << 20);
        PromptLine line = Assert.Single(Read("p.jsonl", $"{{\"prompt\":\"a\",\"images\":[\"{uri}\"]}}"));
        Assert.Equal(uri.Length, Assert.Single(line.Images).Length);
    }

    [Fact]
    public void A_samples_JSON_names_its_pictures_by_hash_and_one_without_is_as_it_was()
    {
        var line = new PromptLine { Line = 1, Index = 0, Prompt = "", Pictures = [new LinePicture(new string('a', 64), 3, 4), new LinePicture(new string('b', 64), 5, 6)] };
        var sample = new SampleMetadata
        {
            Key = "k", Prompt = line, SampleIndex = 0, Seed = 1, NumInferenceSteps = 2, GuidanceScale = 3, WidthPixels = 8, HeightPixels = 8, ModelName = "m", ModelRevision = "r",
        };
        using JsonDocument with = JsonDocument.Parse((sample with { ImageGuidanceScale = 1.5f }).ToJson());
        Assert.Equal([new string('a', 64), new string('b', 64)], with.RootElement.GetProperty("images").EnumerateArray().Select(hash => hash.GetString()));
        Assert.Equal(1.5, with.RootElement.GetProperty("image_guidance").GetDouble());
        using JsonDocument without = JsonDocument.Parse(sample.ToJson());
        Assert.DoesNotContain(without.RootElement.EnumerateObject(), member => member.Name is "images" or "image_guidance");
    }

    private PromptLine[] Read(string name, string text)
    {
        PromptFile file = PromptFile.Open(_folder.Write(name, text));
        return [.. file.Read(file.Validate())];
    }
}
