using System.Text.Json;
using MetaQuery.Imaging;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Vision;
using MetaQuery.TestKit;
using MetaQuery.Tokenizers;

namespace MetaQuery.Pipelines.Tests;

/// <summary>Questions about pictures, to the golden cases' tiny MLLMs: what they say has no meaning, but each word of it is known.</summary>
[LeakCheck]
public sealed class ImageChatTests
{
    private const int Words = 6;

    /// <summary>An MLLM's folder, loaded to chat with.</summary>
    private sealed class Loaded : IDisposable
    {
        public Loaded(string name)
        {
            Case = Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", name);
            var folder = HuggingFaceFolder.Open(Path.Combine(Case, "model"));
            using var weights = folder.OpenWeights();
            Decoder = CausalDecoder.Load(DecoderConfig.FromTransformers(folder.ReadConfig()), weights.WithPrefix(MllmKinds.DecoderPrefix(weights)), packed: true);
            Vision = VisionModel.Load(folder, weights, forConditions: false, packed: true)!;
            Tokenizer = ByteLevelBpeTokenizer.FromTokenizerJson(Path.Combine(folder.Path, "tokenizer.json"));
            Template = ChatTemplate.FromFolder(folder.Path);
        }

        public string Case { get; }

        public CausalDecoder Decoder { get; }

        public VisionModel Vision { get; }

        public Tokenizer Tokenizer { get; }

        public ChatTemplate Template { get; }

        public ChatSession Session(bool withVision = true) => new(Decoder, Tokenizer, Template, new ChatOptions(MaxNewTokens: Words), withVision ? Vision : null);

        public PromptImage Image(string file) => PromptImage.OfFile(File.ReadAllBytes(Path.Combine(Case, file)));

        public void Dispose()
        {
            Decoder.Dispose();
            Vision.Dispose();
        }
    }

    [Theory]
    [InlineData("qwen2_5-vl")]
    [InlineData("llava-onevision")]
    public void An_answer_about_pictures_is_the_references(string name)
    {
        using var loaded = new Loaded(name);
        using var json = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(loaded.Case, "case.json")));
        using var expected = SafetensorsFile.Open(Path.Combine(loaded.Case, "expected.safetensors"));
        using var generated = expected.Load("generated");
        var cropped = json.RootElement.GetProperty("images").EnumerateArray().Where(image => image.ValueKind == JsonValueKind.Object && image.GetProperty("resizeAndCenterCrop").ValueKind == JsonValueKind.Number)
            .ToDictionary(image => image.GetProperty("file").GetString()!, image => image.GetProperty("resizeAndCenterCrop").GetInt32(), StringComparer.Ordinal);
        foreach (var (row, stated) in json.RootElement.GetProperty("rows").EnumerateArray().Index())
        {
            var images = stated.GetProperty("images").EnumerateArray().Select(file => cropped.TryGetValue(file.GetString()!, out var side)
                ? PromptImage.Of(ImageTransforms.CenterCrop(ImageTransforms.ResizeShorterSide(loaded.Image(file.GetString()!).Read(), side), side))
                : loaded.Image(file.GetString()!)).ToList();
            using var session = loaded.Session();
            using var tokens = generated[row];
            var text = loaded.Tokenizer.Decode(tokens.data<long>().ToArray().Take(Words).Select(id => (int)id));
            Assert.Equal(text, string.Concat(session.Ask(stated.GetProperty("text").GetString()!, images)));
        }
    }

    [Fact]
    public void A_second_question_needs_no_second_look_and_answers_as_the_whole_conversation_does()
    {
        using var loaded = new Loaded("qwen2_5-vl");
        var picture = loaded.Image("images/0_133x121.png");
        using var kept = loaded.Session();
        string[] answers = [string.Concat(kept.Ask("What is shown?", [picture])), string.Concat(kept.Ask("Where?")), string.Concat(kept.Ask("And here?", [loaded.Image("images/2_60x44.png")]))];
        Assert.Equal(2, loaded.Vision.Passes);

        // The same questions where every earlier turn is read anew: a session that was asked something else in between, and forgot it.
        using var disturbed = loaded.Session();
        using var stop = new CancellationTokenSource();
        foreach (var question in new[] { "What is shown?", "Where?", "And here?" })
        {
            foreach (var _ in disturbed.Ask("Something else", [loaded.Image("images/1_97x190.png")]))
                break;
            PromptImage[] images = question == "What is shown?" ? [picture] : question == "And here?" ? [loaded.Image("images/2_60x44.png")] : [];
            Assert.Equal(answers[Array.IndexOf(["What is shown?", "Where?", "And here?"], question)], string.Concat(disturbed.Ask(question, images)));
        }
    }

    [Fact]
    public void Another_picture_of_the_same_size_is_another_question()
    {
        using var loaded = new Loaded("qwen2_5-vl");
        var (first, second) = (ImageConditionTests.Picture(60, 60, 1), ImageConditionTests.Picture(60, 60, 2));
        using var fresh = loaded.Session();
        var expected = string.Concat(fresh.Ask("What is shown?", [second]));
        using var session = loaded.Session();
        foreach (var _ in session.Ask("What is shown?", [first]))
            break; // forgotten
        Assert.Equal(expected, string.Concat(session.Ask("What is shown?", [second])));
    }

    [Fact]
    public void A_model_without_vision_refuses_a_picture_before_it_answers()
    {
        using var loaded = new Loaded("qwen2_5-vl");
        using var session = loaded.Session(withVision: false);
        Assert.Throws<PipelineException>(() => session.Ask("What is shown?", [ImageConditionTests.Picture(60, 60, 1)]));
        Assert.NotEmpty(string.Concat(session.Ask("What is shown?")));
    }

    [Fact]
    public void A_picture_that_is_refused_is_forgotten_with_its_question()
    {
        using var loaded = new Loaded("qwen2_5-vl");
        using var session = loaded.Session();
        var good = ImageConditionTests.Picture(60, 60, 1);
        Assert.Throws<ImageFormatException>(() => session.Ask("What is shown?", [good, ImageConditionTests.Picture(9, 9, 1)]).ToList());
        using var fresh = loaded.Session();
        Assert.Equal(string.Concat(fresh.Ask("Hello")), string.Concat(session.Ask("Hello")));
    }

    [Theory]
    [InlineData("metaquery-condition-qwenvl")]
    [InlineData("metaquery-condition-llavaov")]
    public void A_model_folder_chats_about_pictures_at_the_checkpoints_own_limits(string name)
    {
        using var tiny = new TinyModelFolder(name);
        var (decoder, tokenizer, template) = TextModel.LoadForChat(tiny.Folder);
        using var vision = TextModel.LoadVisionForChat(tiny.Folder)!;
        using (decoder)
        {
            using var session = new ChatSession(decoder, tokenizer, template, new ChatOptions(MaxNewTokens: Words), vision);
            var answer = string.Concat(session.Ask("What is shown?", [ImageConditionTests.Picture(60, 60, 1)]));
            using var again = new ChatSession(decoder, tokenizer, template, new ChatOptions(MaxNewTokens: Words), vision);
            Assert.Equal(answer, string.Concat(again.Ask("What is shown?", [ImageConditionTests.Picture(60, 60, 1)])));
            Assert.Equal(2, vision.Passes);
        }
    }
}
