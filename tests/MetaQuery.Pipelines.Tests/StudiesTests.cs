using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Models.Mllm;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

/// <summary>The paper's studies as values of config.json: where a condition comes from, how many queries, and the connector's order and depth. Each by its shape, and
/// by its gradient against differences of the loss itself.</summary>
[LeakCheck]
public sealed class StudiesTests
{
    private const string Caption = "a red apple on a table";

    // Central differences of a float32 loss near 1: its rounding, 1e-7, over twice the step, against slopes of 1e-2 and more; the second order adds the step's square.
    private const double Step = 5e-3;
    private const double GradientTolerance = 0.02;

    [Theory]
    [InlineData(64)]
    [InlineData(77)]
    [InlineData(256)]
    [InlineData(512)]
    public void Random_queries_of_any_number_give_conditions_that_their_seed_decides(int queries)
    {
        using var folder = new WholeModelFolder().Parts();
        byte[] Condition(int seed)
        {
            folder.Configure(config => (config["num_metaqueries"], config["queries"], config["query_seed"]) = (queries, "random", seed));
            using var text = TextModel.Load(MetaQueryModelFolder.Open(folder.Path));
            using var encoder = new ConditionEncoder(text.Model, text.Prompt);
            return encoder.Encode([Caption])[0];
        }

        // the table of this checkpoint was grown by 8 queries: the others' rows are drawn, the old ones taken from it
        var condition = Condition(3);
        Assert.Equal(queries * 48 * sizeof(ushort), condition.Length);
        Assert.Equal(condition, Condition(3));
        Assert.NotEqual(condition, Condition(4));
    }

    [Fact]
    public void Queries_that_were_never_trained_are_normal_with_the_width_that_tables_are_drawn_with()
    {
        var config = new DecoderConfig
        {
            VocabularySize = 10, HiddenSize = 512, IntermediateSize = 4, NumHiddenLayers = 0, NumAttentionHeads = 8, NumKeyValueHeads = 8, HeadSize = 64, RmsNormEpsilon = 1e-6,
            Rotary = new RotaryConfig(10000), QueryKeyValueBias = true, OutputBias = false, MlpBias = false,
        };
        using var rows = MllmInContext.DrawNewRows(config, 254, 7);
        Assert.Equal([256L, 512L], rows.shape);
        var values = rows.data<float>().ToArray();
        var mean = values.Average(value => (double)value);
        Assert.InRange(mean, -3e-4, 3e-4); // 131,072 draws of width 0.02: five times its own deviation
        Assert.InRange(Math.Sqrt(values.Average(value => (value - mean) * (value - mean))), 0.0198, 0.0202);
    }

    [Fact]
    public void Without_queries_a_condition_is_made_of_the_prompts_own_tokens_and_rows_of_zeros_behind_them_are_none()
    {
        using var folder = new WholeModelFolder().Parts(withWeights: false).StateDictionary();
        using (var checkpoint = MetaQueryModelFolder.Open(folder.Path).OpenCheckpoint())
        {
            // without queries the reference does not grow the table
            var copies = CheckpointWriter.All(new ChangedWeights(
                checkpoint, key => key.EndsWith("embed_tokens.weight", StringComparison.Ordinal), table => table.narrow(0, 0, table.shape[0] - 10)), "").ToList();
            CheckpointWriter.Write(Path.Combine(folder.Path, "metaquery.safetensors"), copies);
        }

        folder.Configure(config => (config["num_metaqueries"], config["max_condition_tokens"]) = (0, 96));
        var model = MetaQueryModelFolder.Open(folder.Path);
        Assert.Empty(ModelInspection.Of(folder.Path).Lacks);
        using var text = TextModel.Load(model);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        Assert.Equal(96 * 48 * sizeof(ushort), encoder.ConditionBytes);
        Assert.Equal(encoder.ConditionBytes, TextModel.Describe(model).ConditionBytes);
        var (together, alone) = (encoder.Encode(["", Caption]), encoder.Encode([Caption])[0]);
        Assert.Equal(alone, together[1]);
        var tokens = text.Prompt.Encode(Caption).Length;
        Assert.False(text.Prompt.Encode(Caption).TakeLast(1).SequenceEqual(new MetaQueryPromptOf(text).WithNewTokens(Caption).TakeLast(1))); // no newline for new tokens that do not come
        Assert.True(tokens < 96);
        Assert.True(alone.AsSpan(tokens * 96).IndexOfAnyExcept((byte)0) < 0);
        Assert.True(alone.AsSpan((tokens - 1) * 96, 96).IndexOfAnyExcept((byte)0) >= 0);

        // what stands behind the tokens is nothing to a picture: as the prompt's tokens alone
        using var image = ImageModel.Load(model);
        using var denoiser = new ImageDenoiser(image);
        Imaging.RgbImage Picture(ReadOnlyMemory<byte> condition) => denoiser.Denoise(new ImageBatch(24, 24, 2, 1, [new ImageRow(condition, together[0], 3, 5)]))[0];
        Assert.Equal(Picture(alone.AsMemory(0, tokens * 96)).Pixels, Picture(alone).Pixels);
        Assert.NotEqual(Picture(together[0]).Pixels, Picture(alone).Pixels);

        // more tokens than there is room for: said with both numbers
        folder.Configure(config => config["max_condition_tokens"] = tokens - 1);
        using var small = TextModel.Load(MetaQueryModelFolder.Open(folder.Path));
        using var refusing = new ConditionEncoder(small.Model, small.Prompt);
        Assert.Contains($"{tokens} tokens, a condition of this model has room for {tokens - 1}", Assert.Throws<PipelineException>(() => refusing.Encode([Caption])).Message, StringComparison.Ordinal);

        // packed and plain layers agree, and so does a batch of one in the reference's order: all tokens, no padding
        using var plain = TextModel.Load(model, packed: false);
        using var plainEncoder = new ConditionEncoder(plain.Model, plain.Prompt);
        float[] expected = [], found = [];
        plainEncoder.Observe([Caption], (_, states, condition) => expected = states.cpu().data<float>().ToArray());
        encoder.Observe([Caption], (_, states, condition) => found = states.data<float>().ToArray());
        Assert.Equal(tokens * text.Model.Decoder.Config.HiddenSize, expected.Length);
        Assert.True(expected.Zip(found).All(pair => Math.Abs(pair.First - pair.Second) < 2e-5 * Math.Max(1, Math.Abs(pair.First)) * 10));
    }

    [Theory]
    [InlineData("learned", 8)]
    [InlineData("prompt", 0)]
    [InlineData("random", 64)]
    public void The_loss_falls_as_the_gradients_of_connector_and_queries_say(string source, int queries)
    {
        using var tiny = new TinyModelFolder("metaquery-condition-qwenvl");
        var folder = tiny.Folder;
        using var checkpoint = folder.OpenCheckpoint();
        var decoderConfig = DecoderConfig.FromTransformers(HuggingFaceFolder.Open(folder.MllmPath).ReadConfig());
        using var scope = NewDisposeScope();
        var rows = source switch { "learned" => MllmInContext.LoadNewRows(checkpoint, decoderConfig, queries), "random" => MllmInContext.DrawNewRows(decoderConfig, queries, 3), _ => null };
        using var model = new MllmInContext(
            TextModel.LoadFromCheckpoint(decoderConfig, checkpoint), rows, new MetaQueryConnector(TextModel.ReadConnectorConfig(folder.Config, decoderConfig, checkpoint), checkpoint.WithPrefix("model.")),
            maxConditionTokens: 512);
        using var text = TextModel.Load(folder);
        var prompt = new PromptTokens(text.Prompt.Encode(Caption));
        var target = randn([1, rows is null ? prompt.Ids.Length : queries, model.Connector.OutputSize], dtype: ScalarType.Float32, generator: new Generator(5));
        Tensor Loss() => nn.functional.mse_loss(model.Connector.Forward(rows is null ? model.PromptStates(prompt) : model.QueryStates([prompt], prompt.Ids.Length)), target);

        // random queries stay as they were drawn, and the MLLM is frozen: neither asks for a gradient
        List<Tensor> trained = [.. model.Connector.Named().Select(weight => weight.Holder)];
        if (source == "learned")
            trained.Add(model.NewRows);
        trained.ForEach(tensor => tensor.requires_grad = true);
        Loss().backward();
        Assert.Null(model.Decoder.TokenTable.grad);
        if (source == "random")
            Assert.Null(model.NewRows.grad);
        foreach (var holder in (Tensor[])[trained[0], trained[^1]])
            GradientChecks.Falls(holder, Loss, Step, GradientTolerance);
    }

    private sealed class MetaQueryPromptOf(TextModel text)
    {
        public long[] WithNewTokens(string caption) => new Prompting.MetaQueryPrompt(text.Tokenizer, text.Template, MetaQueryConfig.DefaultSystemPrompt, 256).Encode(caption);
    }
}
