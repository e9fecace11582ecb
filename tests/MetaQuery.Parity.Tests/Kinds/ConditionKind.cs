using System.Text.Json;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Models.Mllm;
using MetaQuery.Pipelines;
using MetaQuery.Pipelines.Prompting;
using MetaQuery.TestKit;
using MetaQuery.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Captions to conditions by the reference's own MLLMInContext: prompt, ids, hidden states, condition; gradients of the new rows and the connector.</summary>
public sealed class ConditionQwenVlKind : IParityKind
{
    private const string NeedsVision = "rows with images need the vision tower, which is not built yet";

    public IReadOnlyList<string> Kinds => ["metaquery-condition-qwenvl"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        var checkpointFolder = HuggingFaceFolder.Open(parityCase.PathOf(parityCase.Json.GetProperty("checkpoint").GetString()!.Split(' ')[0]));
        var mllmFolder = parityCase.PathOf(parityCase.Json.GetProperty("mllm").GetString()!.Split(' ')[0]);
        var config = MetaQueryConfig.Read(Path.Combine(checkpointFolder.Path, HuggingFaceFolder.ConfigName));
        var decoderConfig = DecoderConfig.FromTransformers(HuggingFaceFolder.Open(mllmFolder).ReadConfig());
        report.Exact<long>("numEmbeddingsBeforeGrowth", [decoderConfig.VocabularySize], [parityCase.Json.GetProperty("numEmbeddingsBeforeGrowth").GetInt64()]);
        report.Exact<long>("numMetaqueries", [config.NumMetaqueries], [parityCase.Json.GetProperty("numMetaqueries").GetInt64()]);

        using var weights = checkpointFolder.OpenWeights();
        using var model = Load(packed: false);
        using var packed = Load(packed: true);
        var tokenizer = ByteLevelBpeTokenizer.FromTokenizerJson(Path.Combine(mllmFolder, "tokenizer.json"));
        var prompt = new MetaQueryPrompt(tokenizer, ChatTemplate.FromFolder(mllmFolder), config.SystemPrompt, config.MaxInputTextTokens);
        using var encoder = new ConditionEncoder(model, prompt);
        using var packedEncoder = new ConditionEncoder(packed, prompt);

        var runs = parityCase.Json.GetProperty("runs").EnumerateArray().ToList();
        for (var run = 0; run < runs.Count; run++)
        {
            var captions = runs[run].GetProperty("captions").EnumerateArray().Select(caption => caption.GetString()!).ToList();
            var images = runs[run].GetProperty("images");
            for (var row = 0; row < captions.Count; row++)
            {
                if (HasImages(images, row))
                    report.Skip($"{run}[{row}]", NeedsVision);
                else
                    CompareRow(new RowCase(run, row, captions[row], runs[run].GetProperty("prompts")[row].GetString()!), model, prompt, tokenizer, parityCase, report);
            }

            CompareEncoded(run, captions, images, encoder, " by the encoder", parityCase, report);
            CompareEncoded(run, captions, images, packedEncoder, " by the encoder's packed layers", parityCase, report);
            if (parityCase.Expected.Contains($"{run}.loss"))
            {
                if (images.ValueKind == JsonValueKind.Array)
                    report.Skip($"{run}.loss and gradients", NeedsVision);
                else
                    CompareGradients(run, captions, model, prompt, parityCase, report);
            }
        }

        MllmInContext Load(bool packed) => new(
            TextModel.LoadFromCheckpoint(decoderConfig, weights, packed: packed),
            MllmInContext.LoadNewRows(weights, decoderConfig, config.NumMetaqueries),
            new MetaQueryConnector(TextModel.ReadConnectorConfig(config, decoderConfig, weights), weights.WithPrefix("model."), packed: packed));
    }

    private static bool HasImages(JsonElement images, int row) => images.ValueKind == JsonValueKind.Array && images[row].ValueKind != JsonValueKind.Null;

    private sealed record RowCase(int Run, int Row, string Caption, string Prompt)
    {
        public string Name(string what) => $"{Run}.{what}[{Row}]";

        public Tensor Of(WeightSource source, string what) => source.Load($"{Run}.{what}").select(0, Row);
    }

    private static void CompareRow(
        RowCase row, MllmInContext model, MetaQueryPrompt prompt, Tokenizer tokenizer, ParityCase parityCase, ParityReport report)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var queries = string.Concat(Enumerable.Range(0, model.NumMetaqueries).Select(i => $"<img{i}>"));
        report.Exact(row.Name("prompts"), $"{string.Concat(prompt.Segments(row.Caption).Select(segment => segment.Text))}<begin_of_img>{queries}<end_of_img><|im_end|>", row.Prompt);

        var text = prompt.Encode(row.Caption);
        var padded = row.Of(parityCase.Inputs, "input_ids").ToArray();
        var mask = row.Of(parityCase.Inputs, "attention_mask").ToArray();
        long[] ids = [.. text, .. model.NewTokenIds(), tokenizer.TokenToId("<|im_end|>")!.Value];
        report.Exact(row.Name("attention_mask"), mask, [.. Enumerable.Repeat(0L, padded.Length - ids.Length), .. Enumerable.Repeat(1L, ids.Length)]);
        report.Exact(row.Name("input_ids"), ids, padded[^Math.Min(ids.Length, padded.Length)..]);

        var tolerance = parityCase.Tolerance();
        var last = row.Of(parityCase.Expected, "hidden_last_caption_tokens");
        using var observed = new ObservedStates();
        var states = model.QueryStates(
            tensor(text, [1, text.Length]), ones([1, text.Length], dtype: ScalarType.Int64), observe: observed.Add);
        report.Close(row.Name("hidden_last_caption_tokens"), observed["final_norm"].squeeze(0).narrow(0, text.Length - last.shape[0], last.shape[0]), last, tolerance);
        report.Close(row.Name("query_hidden"), states.squeeze(0), row.Of(parityCase.Expected, "query_hidden"), tolerance);
        report.Close(row.Name("condition"), model.Connector.Forward(states).squeeze(0), row.Of(parityCase.Expected, "condition"), tolerance);
        report.Close(row.Name("condition_mask"), ones(model.NumMetaqueries), row.Of(parityCase.Expected, "condition_mask"), ParityTolerance.Exact);
    }

    private static void CompareEncoded(
        int run, List<string> captions, JsonElement images, ConditionEncoder encoder, string by, ParityCase parityCase, ParityReport report)
    {
        var rows = Enumerable.Range(0, captions.Count).Where(row => !HasImages(images, row)).ToList();
        encoder.Observe([.. rows.Select(row => captions[row])], (i, hidden, condition) =>
        {
            var row = new RowCase(run, rows[i], captions[rows[i]], "");
            report.Close(row.Name("query_hidden") + by, hidden, row.Of(parityCase.Expected, "query_hidden"), parityCase.Tolerance());
            report.Close(row.Name("condition") + by, condition, row.Of(parityCase.Expected, "condition"), parityCase.Tolerance());
        });
    }

    private static void CompareGradients(int run, List<string> captions, MllmInContext model, MetaQueryPrompt prompt, ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        model.NewRows.requires_grad = true;
        foreach (var weight in model.Connector.Named())
            weight.Holder.requires_grad = true;

        var rows = captions.Select(prompt.Encode).ToList();
        var length = rows.Max(row => row.Length);
        var ids = tensor(rows.SelectMany(row => Enumerable.Repeat(0L, length - row.Length).Concat(row)).ToArray(), [rows.Count, length]);
        var mask = tensor(rows.SelectMany(row => Enumerable.Repeat(0L, length - row.Length).Concat(Enumerable.Repeat(1L, row.Length))).ToArray(), [rows.Count, length]);
        var condition = model.Connector.Forward(model.QueryStates(ids, mask));
        var loss = nn.functional.mse_loss(condition, parityCase.Inputs.Load($"{run}.target"));
        loss.backward();
        var tolerance = parityCase.Tolerance();
        report.Close($"{run}.condition in one batch", condition.detach(), parityCase.Expected.Load($"{run}.condition"), tolerance);
        report.Close($"{run}.loss", loss.detach().reshape(1), parityCase.Expected.Load($"{run}.loss"), tolerance);
        var limit = parityCase.Json.GetProperty("gradientTolerance").GetProperty("relativeL2PerTensor").GetDouble();
        var expected = parityCase.Expected.Load($"{run}.grad.embed_new_rows");
        report.Close($"{run}.grad.embed_new_rows", GradientComparison.RelativeError(model.NewRows.grad!, expected), 0, new ParityTolerance(limit, 0));
        GradientComparison.Compare(model.Connector.Named(), "model.", parityCase, report);
    }
}
