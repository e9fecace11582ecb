using MetaQuery.Imaging;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

/// <summary>Conditions from prompts with pictures, by tiny MLLMs of both families out of model folders.</summary>
[LeakCheck]
public sealed class ImageConditionTests
{
    private const string Qwen = "metaquery-condition-qwenvl";
    private const string Llava = "metaquery-condition-llavaov";

    [Theory]
    [InlineData(Qwen, "64_90x70.png", "a dog on the beach")]
    [InlineData(Llava, "72_61x97.png", "a dog")]
    public void The_branches_of_guidance_equal_the_references(string name, string file, string caption)
    {
        const int Run = 2; // of the golden case: empty with black, empty with the picture, both
        using var folder = new TinyModelFolder(name);
        using var text = TextModel.Load(folder.Folder);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        using var expected = SafetensorsFile.Open(Path.Combine(folder.Case, "expected.safetensors"));
        var picture = PromptImage.OfFile(File.ReadAllBytes(Path.Combine(folder.Case, "images", file)));
        encoder.Observe(new ConditionPrompt(caption, [picture]).GuidanceBranches(), (i, _, condition) =>
        {
            using var golden = expected.Load($"{Run}.condition");
            using var row = golden[i];
            using var difference = (condition - row).abs().max();
            Assert.True(difference.item<float>() < 5e-4, $"branch {i}: off by {difference.item<float>()}"); // the case's own tolerance
        });
        Assert.Equal(2, text.Model.Vision.Passes);
    }

    [Fact]
    public void A_prompt_with_pictures_has_the_same_bytes_alone_in_any_batch_and_at_any_place()
    {
        using var folder = new TinyModelFolder(Qwen);
        using var text = TextModel.Load(folder.Folder);
        var (first, second) = (Picture(80, 60, 1), Picture(50, 90, 2));
        ConditionPrompt[] prompts =
        [
            new("", [first]), new("a dog"), new("make it blue", [first]), new("", [second, first]), new("make it blue", [first, second]), new(""), new("a dog", [second]),
        ];
        var alone = new List<byte[]>();
        foreach (var prompt in prompts)
        {
            using var encoder = new ConditionEncoder(text.Model, text.Prompt);
            alone.Add(encoder.Encode([prompt])[0]);
        }

        Assert.Equal(prompts.Length, alone.Select(Convert.ToHexString).Distinct(StringComparer.Ordinal).Count());
        var order = Enumerable.Range(0, prompts.Length).ToArray();
        foreach (var most in new[] { 1, 700, 100_000 })
        {
            using var encoder = new ConditionEncoder(text.Model, text.Prompt, new ConditionEncoderOptions(MaxBatchTokens: most));
            new Random(most).Shuffle(order);
            var together = encoder.Encode([.. order.Select(i => prompts[i])]);
            for (var place = 0; place < order.Length; place++)
                Assert.True(alone[order[place]].AsSpan().SequenceEqual(together[place]), $"prompt {order[place]} at {place}, at most {most} tokens at once");
        }
    }

    [Fact]
    public void Without_packed_layers_padding_and_neighbours_change_rounding_only()
    {
        using var folder = new TinyModelFolder(Qwen);
        using var packed = TextModel.Load(folder.Folder);
        using var plain = TextModel.Load(folder.Folder, packed: false);
        ConditionPrompt[] prompts = [new("make it blue", [Picture(80, 60, 1)]), new("a dog"), new("", [Picture(50, 90, 2), Picture(64, 64, 3)])];
        var states = new float[prompts.Length][];
        using var encoder = new ConditionEncoder(packed.Model, packed.Prompt);
        encoder.Observe(prompts, (i, hidden, _) => states[i] = hidden.data<float>().ToArray());
        using var other = new ConditionEncoder(plain.Model, plain.Prompt);
        other.Observe(prompts, (i, hidden, _) =>
        {
            // States are of the order of 1.
            var actual = hidden.contiguous().data<float>().ToArray();
            Assert.True(actual.Zip(states[i], (a, b) => Math.Abs(a - b)).Max() < 1e-4, $"prompt {i}");
        });
    }

    [Fact]
    public void The_tower_runs_once_for_a_picture_and_again_when_its_features_were_dropped()
    {
        using var folder = new TinyModelFolder(Qwen);
        using var text = TextModel.Load(folder.Folder);
        var picture = Picture(80, 60, 1);
        using (var encoder = new ConditionEncoder(text.Model, text.Prompt))
        {
            _ = encoder.Encode([new ConditionPrompt("a", [picture]), new ConditionPrompt("b", [picture, PromptImage.Of(picture.Read())])]);
            _ = encoder.Encode([new ConditionPrompt("c", [picture])]);
            Assert.Equal(1, text.Model.Vision.Passes);
        }

        using var forgetful = new ConditionEncoder(text.Model, text.Prompt, new ConditionEncoderOptions(FeatureCacheBytes: 0));
        _ = forgetful.Encode([new ConditionPrompt("a", [picture])]);
        _ = forgetful.Encode([new ConditionPrompt("b", [picture])]);
        Assert.Equal(3, text.Model.Vision.Passes);
    }

    [Fact]
    public void Features_of_a_few_pictures_are_held_at_a_time_however_many_a_call_has()
    {
        using var folder = new TinyModelFolder(Qwen);
        using var text = TextModel.Load(folder.Folder);
        var events = new List<string>();
        PromptImage Told(int i)
        {
            var picture = Picture(56, 56, i);
            return new PromptImage(picture.Hash, 56, 56, () =>
            {
                events.Add($"read {i}");
                return picture.Read();
            });
        }

        ConditionPrompt[] prompts = [new("a", [Told(0)]), new("b"), new("c", [Told(1)]), new("d", [Told(2)])];
        var expected = new float[prompts.Length][];
        using (var encoder = new ConditionEncoder(text.Model, text.Prompt))
            encoder.Observe(prompts, (i, _, condition) => expected[i] = condition.data<float>().ToArray());
        Assert.Equal(["read 0", "read 1", "read 2"], events);

        events.Clear();
        using var frugal = new ConditionEncoder(text.Model, text.Prompt, new ConditionEncoderOptions(MaxHeldFeatureBytes: 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ConditionEncoder(text.Model, text.Prompt, new ConditionEncoderOptions(MaxHeldFeatureBytes: 0)));
        frugal.Observe(prompts, (i, _, condition) =>
        {
            events.Add($"made {i}");
            Assert.Equal(expected[i], condition.data<float>().ToArray());
        });
        Assert.Equal(["read 0", "made 0", "read 1", "made 1", "made 2", "read 2", "made 3"], events);
    }

    [Fact]
    public void What_reads_pictures_is_asked_for_again_where_it_could_not_be_loaded_at_first()
    {
        using var folder = new TinyModelFolder(Llava);
        using var text = TextModel.Load(folder.Folder);
        var file = Path.Combine(folder.Folder.MllmPath, "preprocessor_config.json");
        File.Move(file, file + ".away");
        Assert.Throws<CheckpointException>(() => text.Model.Vision);
        Assert.Throws<CheckpointException>(() => text.Chat.NewSession(withImages: true).Dispose());
        File.Move(file + ".away", file);
        Assert.NotNull(text.Model.Vision);
        text.Chat.NewSession(withImages: true).Dispose();
    }

    [Fact]
    public void A_picture_that_the_models_processor_refuses_is_told_before_it_is_read()
    {
        using var folder = new TinyModelFolder(Qwen);
        using var text = TextModel.Load(folder.Folder);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        encoder.Check(28, 28);
        Assert.Contains("at least 28", Assert.Throws<ImageFormatException>(() => encoder.Check(20, 100)).Message, StringComparison.Ordinal);
        Assert.Throws<ImageFormatException>(() => encoder.Encode([new ConditionPrompt("", [Picture(20, 100, 1)])]));
    }

    [Fact]
    public void A_file_is_refused_by_its_header_and_read_once_for_its_features()
    {
        Assert.Throws<ImageFormatException>(() => PromptImage.OfFile("no picture"u8.ToArray()));
        using var folder = new TinyModelFolder(Qwen);
        var file = File.ReadAllBytes(Path.Combine(folder.Case, "images", "64_90x70.png"));
        Assert.Throws<ImageFormatException>(() => PromptImage.OfFile(file, maxPixels: 100));
        var picture = PromptImage.OfFile(file);
        Assert.Equal((90, 70, 64), (picture.WidthPixels, picture.HeightPixels, picture.Hash.Length));
        var read = 0;
        var counted = new PromptImage(picture.Hash, 90, 70, () =>
        {
            read++;
            return picture.Read();
        });
        using var text = TextModel.Load(folder.Folder);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        _ = encoder.Encode([new ConditionPrompt("a", [counted]), new ConditionPrompt("b", [counted])]);
        Assert.Equal(1, read);
    }

    [Fact]
    public void A_prompt_longer_than_the_model_takes_is_refused()
    {
        using var folder = new TinyModelFolder(Qwen);
        using var text = TextModel.Load(folder.Folder);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        var most = text.Model.Decoder.Config.MaxPositionEmbeddings;
        var picture = Picture(80, 60, 1);
        var error = Assert.Throws<PipelineException>(() => encoder.Encode([new ConditionPrompt("", [.. Enumerable.Repeat(picture, most / 256)])]));
        Assert.Contains($"{most / 256} images", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Special_tokens_in_a_caption_make_no_place_for_a_picture()
    {
        using var folder = new TinyModelFolder(Qwen);
        using var text = TextModel.Load(folder.Folder);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        var caption = "<|vision_start|><|image_pad|><|vision_end|> <begin_of_img>";
        Assert.Equal(2, encoder.Encode([new ConditionPrompt(caption), new ConditionPrompt(caption, [Picture(80, 60, 1)])]).Count);
    }

    [Fact]
    public void The_unconditional_branch_sees_black_pictures_of_the_same_sizes()
    {
        var prompt = new ConditionPrompt("a dog", [Picture(30, 40, 1), Picture(50, 60, 2)]);
        var branches = prompt.GuidanceBranches();
        Assert.Equal(["", "", "a dog"], branches.Select(branch => branch.Caption));
        Assert.Equal([(30, 40), (50, 60)], branches[0].Images.Select(image => (image.WidthPixels, image.HeightPixels)));
        Assert.All(branches[0].Images, image => Assert.DoesNotContain(image.Read().Pixels, sample => sample != 0));
        Assert.Equal(prompt.Images, branches[1].Images);
        Assert.Equal(["", "a dog"], new ConditionPrompt("a dog").GuidanceBranches().Select(branch => branch.Caption));
        Assert.NotEqual(PromptImage.Of(new RgbImage(2, 3)).Hash, PromptImage.Of(new RgbImage(3, 2)).Hash);
    }

    internal static PromptImage Picture(int width, int height, int seed)
    {
        var image = new RgbImage(width, height);
        new Random(seed).NextBytes(image.Pixels);
        return PromptImage.Of(image);
    }
}
