using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Models.Mllm;
using MetaQuery.Pipelines.Prompting;
using MetaQuery.TestKit;
using MetaQuery.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

/// <summary>Without packed layers: padding from the prompt alone. On a golden case's tiny Qwen2.</summary>
[LeakCheck]
public sealed class PaddedEncodingTests
{
    private static readonly string[] Captions = ["", "a dog", "a dog on the beach", "make it blue", "A photo of a red apple on a wooden table.", "café", "x", "two"];

    [Fact]
    public void A_prompt_has_the_same_bytes_alone_in_any_batch_and_at_any_place()
    {
        using var model = LoadTiny(packed: false, out var prompt);
        using var encoder = new ConditionEncoder(model, prompt, new ConditionEncoderOptions(BatchSize: 4));
        var alone = Captions.Select(caption => encoder.Encode([caption])[0]).ToList();
        var order = Enumerable.Range(0, Captions.Length).ToArray();
        for (var round = 0; round < 3; round++)
        {
            new Random(round).Shuffle(order);
            var together = encoder.Encode([.. order.Select(i => Captions[i])]);
            for (var place = 0; place < order.Length; place++)
                Assert.True(alone[order[place]].AsSpan().SequenceEqual(together[place]), $"\"{Captions[order[place]]}\" at {place}");
        }
    }

    [Fact]
    public void Padding_changes_a_condition_by_rounding_only()
    {
        using var model = LoadTiny(packed: false, out var prompt);
        using var encoder = new ConditionEncoder(model, prompt);
        encoder.Observe(Captions, (i, states, _) =>
        {
            using var mode = inference_mode();
            using var scope = NewDisposeScope();
            var ids = prompt.Encode(Captions[i]);
            var unpadded = model.QueryStates(tensor(ids, [1, ids.Length]), ones([1, ids.Length], dtype: ScalarType.Int64)).squeeze(0);
            // States are of the order of 1; float32 sums in another order differ by some 1e-6.
            Assert.True((states - unpadded).abs().max().item<float>() < 2e-5f, Captions[i]);
        });
    }

    internal static MllmInContext LoadTiny(bool packed, out MetaQueryPrompt prompt)
    {
        var folder = Path.Combine(RepositoryFolders.VisibleFixtures, "mllm", "metaquery-condition-qwenvl");
        var config = MetaQueryConfig.Read(Path.Combine(folder, "checkpoint", HuggingFaceFolder.ConfigName));
        var decoder = DecoderConfig.FromTransformers(HuggingFaceFolder.Open(Path.Combine(folder, "mllm")).ReadConfig());
        var tokenizer = ByteLevelBpeTokenizer.FromTokenizerJson(Path.Combine(folder, "mllm", "tokenizer.json"));
        prompt = new MetaQueryPrompt(tokenizer, ChatTemplate.FromFolder(Path.Combine(folder, "mllm")), config.SystemPrompt, config.MaxInputTextTokens);
        using var weights = HuggingFaceFolder.Open(Path.Combine(folder, "checkpoint")).OpenWeights();
        return new MllmInContext(
            TextModel.LoadFromCheckpoint(decoder, weights, packed: packed),
            MllmInContext.LoadNewRows(weights, decoder, config.NumMetaqueries),
            new MetaQueryConnector(TextModel.ReadConnectorConfig(config, decoder, weights), weights.WithPrefix("model."), packed: packed));
    }
}
