using System.Text.Json.Nodes;
using MetaQuery.Client;
using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Pipelines;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.TestKit;
using static TorchSharp.torch;

namespace MetaQuery.Silo.Tests;

/// <summary>The paper's studies and its other language model, each as a model folder that a farm makes jobs of.</summary>
public sealed class StudyJobTests : IDisposable
{
    private readonly TemporaryFolder _work = new();

    public void Dispose() => _work.Dispose();

    [Theory]
    [InlineData("""{"connector_type":"proj-enc","connector_num_attention_heads":2}""")]
    [InlineData("""{"num_metaqueries":0,"max_condition_tokens":1500}""")]
    [InlineData("""{"queries":"random","query_seed":3,"num_metaqueries":64}""")]
    public async Task A_study_makes_a_job_of_texts_and_pictures_with_the_same_bytes_on_one_slot_and_on_two(string study)
    {
        string model = Random("tiny");
        Configure(model, study);
        using LocalModel loaded = LocalModel.Load(model, "float32");
        JobResult result = await RunAsync(loaded, "one", slots: 1);
        Assert.Equal((JobState.Completed, 4L, 0L), (result.State, result.Progress.Written, result.Progress.Failed));
        Assert.Equal(4, Pictures("one").Distinct(StringComparer.Ordinal).Count());
        await RunAsync(loaded, "two", slots: 2);
        Assert.Equal(Pictures("one"), Pictures("two"));
    }

    [Fact]
    public async Task The_API_edits_and_talks_with_LLaVA_OneVision_as_an_embedded_run_does()
    {
        using LocalModel model = LocalModel.Load(Random("tiny-llava"), "float32");
        string[] names = [.. new[] { "00_rgb_61x43.png", "06_jpegexif_48x30.jpg" }.Select(TinyMetaQuery.Picture)];
        byte[][] pictures = [.. names.Select(File.ReadAllBytes)];
        await using ToyServer server = await ToyServer.StartAsync(In("data"), model: model);
        using var client = new FarmClient(server.Url);
        var edit = new ImageEditRequest { Prompt = "both", Seed = 7, Steps = 2, ImageGuidance = 2.5f };
        ImageResponse made = await client.EditImagesAsync(edit, pictures);
        var spec = new JobSpec { Prompts = ["both"], Images = names, OutFolder = "none", Seed = 7, NumInferenceSteps = 2, ImageGuidanceScale = 2.5f };
        Farm.GeneratedImage alone = Assert.Single(await new EmbeddedFarm(model).GenerateAsync(spec, new FarmOptions(), null, CancellationToken.None));
        Assert.Equal(alone.Image.Pixels, ImageDecoder.Decode(Convert.FromBase64String(made.Data[0].B64Json!)).Pixels);

        var question = new ChatRequest
        {
            Messages = [new ChatMessage { Role = "user", Content = new ChatContent([ChatContentPart.OfImage(pictures[0], "image/png"), ChatContentPart.OfText("What is this?")]) }], Temperature = 0, MaxTokens = 6,
        };
        using var session = model.Chat!.NewSession(new ChatOptions(MaxNewTokens: 6), withImages: true);
        Assert.Equal(string.Concat(session.Ask("What is this?", [PromptImage.OfFile(pictures[0])])), (await client.ChatAsync(question)).Choices[0].Message.Content);
    }

    private string Random(string family)
    {
        RandomModels.Write(In(family), family, "float32", seed: 0, static _ => { });
        return In(family);
    }

    /// <summary>Changes config.json, and gives the model weights for what it then asks for.</summary>
    private static void Configure(string model, string change)
    {
        string path = Path.Combine(model, "config.json");
        JsonObject config = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
        foreach ((string name, JsonNode? value) in JsonNode.Parse(change)!.AsObject())
        {
            config[name] = value?.DeepClone();
        }

        File.WriteAllText(path, config.ToJsonString());
        if (config["connector_type"]?.GetValue<string>() != "proj-enc")
        {
            return;
        }

        var asked = new Asked();
        new MetaQueryConnector(ConnectorConfig.OfReference(64, 2, 48, ConnectorKind.ProjectionEncoder) with { NumAttentionHeads = 2, NumKeyValueHeads = 2 }, asked.WithPrefix("model.")).Dispose();
        string file = Path.Combine(model, "model.safetensors");
        using (SafetensorsFile own = SafetensorsFile.Open(file))
        {
            CheckpointWriter.Write(file + ".new", [
                .. CheckpointWriter.All(own, "").Where(entry => !entry.Key.Contains("connector", StringComparison.Ordinal)), .. CheckpointWriter.All(asked, "")]);
        }

        File.Move(file + ".new", file, overwrite: true);
    }

    private string Prompts()
    {
        foreach (string name in new[] { "00_rgb_61x43.png", "06_jpegexif_48x30.jpg" })
        {
            File.Copy(TinyMetaQuery.Picture(name), In(name), overwrite: true);
        }

        File.WriteAllLines(In("p.jsonl"),
        [
            """{"prompt":"a dog"}""", """{"prompt":"make it red","images":["00_rgb_61x43.png"]}""", """{"images":["06_jpegexif_48x30.jpg"]}""",
            """{"prompt":"both","images":["00_rgb_61x43.png","06_jpegexif_48x30.jpg"]}""",
        ]);
        return In("p.jsonl");
    }

    private Task<JobResult> RunAsync(LocalModel model, string name, int slots) => new EmbeddedFarm(model).RunAsync(
        new JobSpec { PromptFile = Prompts(), OutFolder = In(name), Seed = 5, NumInferenceSteps = 2, BatchSize = 2 }, new FarmOptions { Slots = slots }, null, CancellationToken.None);

    private List<string> Pictures(string folder) =>
        [.. Directory.EnumerateFiles(In(folder), "*.tar").SelectMany(WebDatasetShardReader.Read).Select(sample => Convert.ToHexString(sample.Files.Single(file => file.Extension == "png").Content.Span))];

    private string In(string name) => Path.Combine(_work.Path, name);

    /// <summary>Gives what a model asks for: norms of one, the rest small and normal, a function of the name.</summary>
    private sealed class Asked : WeightSource
    {
        private readonly Dictionary<string, long[]> _shapes = new(StringComparer.Ordinal);

        public override string Path => "asked";

        public override IReadOnlyCollection<string> Keys => _shapes.Keys;

        public override bool Contains(string key) => _shapes.ContainsKey(key);

        public override WeightInfo Describe(string key) => new(key, _shapes[key], ScalarType.Float32, "F32", 0);

        public override Tensor Load(string key, long[] expectedShape, ScalarType? dtype = null)
        {
            _shapes[key] = expectedShape;
            return Load(key, dtype);
        }

        public override Tensor Load(string key, ScalarType? dtype = null) => _shapes[key].Length == 1 && !key.EndsWith("bias", StringComparison.Ordinal)
            ? ones(_shapes[key], ScalarType.Float32)
            : randn(_shapes[key], dtype: ScalarType.Float32, generator: new Generator((ulong)key.Length)).mul(0.1);
    }
}
