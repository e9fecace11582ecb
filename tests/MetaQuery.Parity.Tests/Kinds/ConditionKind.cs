using System.Text.Json;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Models.Mllm;
using MetaQuery.Pipelines;
using MetaQuery.Pipelines.Prompting;
using MetaQuery.Pipelines.Vision;
using MetaQuery.TestKit;
using MetaQuery.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Captions and pictures to conditions by the reference's own MLLMInContext: prompt, pixels, ids, positions, hidden states, condition; gradients
/// of the new rows and the connector.</summary>
public sealed partial class ConditionKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["metaquery-condition-qwenvl", "metaquery-condition-llavaov"];

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

        foreach (var (run, json) in parityCase.Json.GetProperty("runs").EnumerateArray().Index())
        {
            var prompts = Prompts(parityCase, json);
            ComparePixels(run, prompts, model.Vision, parityCase, report);
            for (var row = 0; row < prompts.Count; row++)
                CompareRow(new RowCase(run, row, prompts[row], json.GetProperty("prompts")[row].GetString()!), model, prompt, tokenizer, parityCase, report);
            CompareEncoded(run, prompts, encoder, " by the encoder", parityCase, report);
            CompareEncoded(run, prompts, packedEncoder, " by the encoder's packed layers", parityCase, report);
            if (parityCase.Expected.Contains($"{run}.loss"))
                CompareGradients(run, prompts, model, prompt, parityCase, report);
        }

        CompareTowerRuns(parityCase.Json.GetProperty("runs").EnumerateArray().SelectMany(json => Prompts(parityCase, json)), packed, report);

        MllmInContext Load(bool packed) => new(
            TextModel.LoadFromCheckpoint(decoderConfig, weights, packed: packed),
            MllmInContext.LoadNewRows(weights, decoderConfig, config.NumMetaqueries),
            new MetaQueryConnector(TextModel.ReadConnectorConfig(config, decoderConfig, weights), weights.WithPrefix("model."), packed: packed),
            () => VisionModel.Load(HuggingFaceFolder.Open(mllmFolder), weights.WithPrefix("model.mllm_backbone."), forConditions: true, packed: packed));
    }

    private static List<ConditionPrompt> Prompts(ParityCase parityCase, JsonElement run)
    {
        var images = run.GetProperty("images");
        return
        [
            .. run.GetProperty("captions").EnumerateArray().Select((caption, row) => new ConditionPrompt(
                caption.GetString()!,
                images.ValueKind == JsonValueKind.Array && images[row].ValueKind == JsonValueKind.Array
                    ? [.. images[row].EnumerateArray().Select(image => PromptImage.Of(CaseImages.Load(parityCase, image)))]
                    : [])),
        ];
    }

    private sealed record RowCase(int Run, int Row, ConditionPrompt Given, string Prompt)
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
        report.Exact(row.Name("prompts"), $"{string.Concat(prompt.Segments(row.Given.Caption, row.Given.Images.Count).Select(segment => segment.Text))}<begin_of_img>{queries}<end_of_img><|im_end|>", row.Prompt);

        using var text = Tokens(model, prompt, row.Given);
        var padded = row.Of(parityCase.Inputs, "input_ids").ToArray();
        var mask = row.Of(parityCase.Inputs, "attention_mask").ToArray();
        long[] ids = [.. text.Prompt.Ids, .. model.NewTokenIds(), tokenizer.TokenToId("<|im_end|>")!.Value];
        report.Exact(row.Name("attention_mask"), mask, [.. Enumerable.Repeat(0L, padded.Length - ids.Length), .. Enumerable.Repeat(1L, ids.Length)]);
        report.Exact(row.Name("input_ids"), ids, padded[^Math.Min(ids.Length, padded.Length)..]);
        if (parityCase.Inputs.Contains($"{row.Run}.position_ids"))
        {
            var axes = new PositionAxes();
            text.Prompt.AddTo(axes, 0);
            var positions = parityCase.Inputs.Load($"{row.Run}.position_ids").select(1, row.Row).narrow(1, padded.Length - ids.Length, ids.Length);
            report.Exact<long>(row.Name("position_ids"), axes.Of(0, ids.Length).ToArray(), positions.contiguous().ToArray());
        }

        var tolerance = parityCase.Tolerance();
        var last = row.Of(parityCase.Expected, "hidden_last_caption_tokens");
        using var observed = new ObservedStates();
        var length = text.Prompt.Ids.Length;
        var states = model.QueryStates([text.Prompt], length, observe: observed.Add);
        report.Close(row.Name("hidden_last_caption_tokens"), observed["final_norm"].squeeze(0).narrow(0, length - last.shape[0], last.shape[0]), last, tolerance);
        report.Close(row.Name("query_hidden"), states.squeeze(0), row.Of(parityCase.Expected, "query_hidden"), tolerance);
        report.Close(row.Name("condition"), model.Connector.Forward(states).squeeze(0), row.Of(parityCase.Expected, "condition"), tolerance);
        report.Close(row.Name("condition_mask"), ones(model.NumMetaqueries), row.Of(parityCase.Expected, "condition_mask"), ParityTolerance.Exact);
    }

    private static void CompareEncoded(
        int run, List<ConditionPrompt> prompts, ConditionEncoder encoder, string by, ParityCase parityCase, ParityReport report) =>
        encoder.Observe(prompts, (i, hidden, condition) =>
        {
            var row = new RowCase(run, i, prompts[i], "");
            report.Close(row.Name("query_hidden") + by, hidden, row.Of(parityCase.Expected, "query_hidden"), parityCase.Tolerance());
            report.Close(row.Name("condition") + by, condition, row.Of(parityCase.Expected, "condition"), parityCase.Tolerance());
        });

    private static void CompareGradients(int run, List<ConditionPrompt> prompts, MllmInContext model, MetaQueryPrompt prompt, ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        model.NewRows.requires_grad = true;
        foreach (var weight in model.Connector.Named())
            weight.Holder.requires_grad = true;

        var texts = prompts.Select(given => Tokens(model, prompt, given)).ToList();
        var condition = model.Connector.Forward(model.QueryStates([.. texts.Select(text => text.Prompt)], texts.Max(text => text.Prompt.Ids.Length)));
        texts.ForEach(text => text.Dispose());
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
