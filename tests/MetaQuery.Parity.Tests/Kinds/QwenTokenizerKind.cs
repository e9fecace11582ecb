using System.Text.Json;
using MetaQuery.Imaging;
using MetaQuery.Models.Vision;
using MetaQuery.TestKit;
using MetaQuery.Tokenizers;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Qwen2.5's tokenizer, and the reference's whole way from captions to ids: cut, chat template, response, query tokens, padding.</summary>
public sealed class QwenTokenizerKind : IParityKind
{
    private const int MaximumCaptionTokens = 256; // max_input_text_tokens of the reference
    private const string QwenVision = "qwenvl";

    public IReadOnlyList<string> Kinds => ["tokenizer-qwen2_5"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        var tokenizer = ByteLevelBpeTokenizer.FromTokenizerJson(parityCase.FindShared("tokenizer.json.gz"));
        TokenizerCases.Run(parityCase, tokenizer, report);

        using var templates = JsonDocument.Parse(File.ReadAllBytes(parityCase.FindShared("chat_templates.json")));
        var qwenTemplate = ChatTemplate.Parse(templates.RootElement.GetProperty("qwen2_5_vl").GetString()!);
        var llavaTemplate = ChatTemplate.Parse(templates.RootElement.GetProperty("llava_onevision").GetString()!);
        var llava = LlavaTokenizer(parityCase);
        foreach (var row in TokenizerCases.Lines(parityCase.PathOf("prompts.jsonl")))
        {
            var isQwen = row.GetProperty("mllm").ValueEquals(QwenVision);
            RunRow(row, isQwen ? tokenizer : llava, isQwen ? qwenTemplate : llavaTemplate, report);
        }
    }

    // LLaVA-OneVision's tokenizer is the same table with other added tokens after the text ones.
    private static ByteLevelBpeTokenizer LlavaTokenizer(ParityCase parityCase)
    {
        var path = parityCase.FindShared("tokenizer.json.gz");
        using var stream = new System.IO.Compression.GZipStream(File.OpenRead(path), System.IO.Compression.CompressionMode.Decompress);
        var root = System.Text.Json.Nodes.JsonNode.Parse(stream)!.AsObject();
        var added = root["added_tokens"]!.AsArray();
        var kept = added.Where(t => (string?)t!["content"] is "<|endoftext|>" or "<|im_start|>" or "<|im_end|>").Select(t => t!.DeepClone()).ToArray();
        root["added_tokens"] = new System.Text.Json.Nodes.JsonArray(kept);
        var file = Path.Combine(Path.GetTempPath(), $"tokenizer-{Guid.NewGuid():N}.json");
        try
        {
            File.WriteAllText(file, root.ToJsonString());
            var tokenizer = ByteLevelBpeTokenizer.FromTokenizerJson(file);
            var next = tokenizer.VocabularySize;
            return (ByteLevelBpeTokenizer)tokenizer.WithAddedTokens([new AddedToken(next, "<image>"), new AddedToken(next + 1, "<video>")]);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static void RunRow(JsonElement row, Tokenizer tokenizer, ChatTemplate template, ParityReport report)
    {
        var name = row.GetProperty("name").GetString()!;
        report.Exact($"{name}: tokenizer's length", [(long)tokenizer.VocabularySize], [row.GetProperty("tokenizerLength").GetInt64()]);
        var queries = row.GetProperty("numMetaqueries").GetInt32();
        var grown = Grow(tokenizer, row.GetProperty("numEmbeddings").GetInt32(), queries);
        if (queries > 0)
        {
            report.Exact($"{name}: <begin_of_img>", [(long)grown.TokenToId("<begin_of_img>")!.Value], [row.GetProperty("beginOfImgId").GetInt64()]);
            report.Exact($"{name}: <end_of_img>", [(long)grown.TokenToId("<end_of_img>")!.Value], [row.GetProperty("endOfImgId").GetInt64()]);
        }

        var withSuffix = queries > 0 && row.GetProperty("addGenerationPromptArgument").GetBoolean();
        var suffix = withSuffix ? $"\n<begin_of_img>{string.Concat(Enumerable.Range(0, queries).Select(i => $"<img{i}>"))}<end_of_img><|im_end|>" : "";
        var expectedIds = row.GetProperty("input_ids").EnumerateArray().Select(TokenizerCases.Ids).ToArray();
        var expectedMask = row.GetProperty("attention_mask").EnumerateArray().Select(TokenizerCases.Ids).ToArray();
        var captions = row.GetProperty("captions").EnumerateArray().Select(c => c.GetString()!).ToArray();
        var longest = expectedIds.Max(ids => ids.Length);
        for (var index = 0; index < captions.Length; index++)
        {
            var what = $"{name}, row {index}";
            var prompt = Prompt(row, index, captions[index], grown, template) + suffix;
            report.Exact($"{what}: prompt", prompt, row.GetProperty("prompts")[index].GetString());

            var ids = Expand(grown.EncodeToIds(prompt), Sizes(row, index), grown);
            var padding = longest - ids.Count;
            var pad = grown.TokenToId("<|endoftext|>")!.Value;
            report.Exact($"{what}: ids", [.. Enumerable.Repeat((long)pad, Math.Max(0, padding)), .. ids], expectedIds[index]);
            report.Exact($"{what}: mask", [.. Enumerable.Range(0, longest).Select(i => i < padding ? 0L : 1L)], expectedMask[index]);
        }
    }

    private static Tokenizer Grow(Tokenizer tokenizer, int embeddings, int queries)
    {
        if (queries == 0)
        {
            return tokenizer;
        }

        var length = tokenizer.VocabularySize;
        string[] names =
        [
            .. Enumerable.Range(0, embeddings - length).Select(i => $"<pad_token_{i}>"),
            "<begin_of_img>", "<end_of_img>",
            .. Enumerable.Range(0, queries).Select(i => $"<img{i}>"),
        ];
        return tokenizer.WithAddedTokens(names.Select((text, i) => new AddedToken(length + i, text)));
    }

    // The reference honours special tokens in captions; so does this, on purpose: it is the reference's text that is compared.
    private static string Prompt(JsonElement row, int index, string caption, Tokenizer tokenizer, ChatTemplate template)
    {
        var cut = tokenizer.Decode(tokenizer.EncodeToIds(caption).Take(MaximumCaptionTokens));
        var pictures = Sizes(row, index).Count;
        var messages = new List<ChatMessage>();
        if (row.GetProperty("systemPrompt").GetString() is { } system)
        {
            messages.Add(ChatMessage.OfParts("system", ChatPart.Text(system)));
        }

        messages.Add(ChatMessage.OfParts("user", [.. Enumerable.Repeat(ChatPart.Image, pictures), ChatPart.Text(cut)]));
        var response = row.GetProperty("textResponse");
        return template.Render(messages, addGenerationPrompt: true)
            + (response.ValueKind == JsonValueKind.Array ? response[index].GetString()!.Trim() : "");
    }

    private static List<(int Width, int Height)> Sizes(JsonElement row, int index)
    {
        var sizes = row.GetProperty("imageSizesWidthHeight");
        return sizes.ValueKind == JsonValueKind.Array && sizes[index].ValueKind == JsonValueKind.Array
            ? [.. sizes[index].EnumerateArray().Select(size => (size[0].GetInt32(), size[1].GetInt32()))]
            : [];
    }

    // The case has no models: these are the published ones' numbers (patches of 14 in both; towers of 384 pixels for LLaVA-OneVision, to which the
    // reference crops every picture).
    private static List<long> Expand(IReadOnlyList<int> ids, List<(int Width, int Height)> sizes, Tokenizer tokenizer)
    {
        var qwen = tokenizer.TokenToId("<|image_pad|>");
        var image = qwen ?? tokenizer.TokenToId("<image>");
        var next = new Queue<(int Width, int Height)>(sizes);
        return [.. ids.SelectMany(id => id == image ? Enumerable.Repeat((long)id, Count(next.Dequeue())) : [id])];

        int Count((int Width, int Height) size)
        {
            if (qwen is null)
            {
                const int Side = 384 / 14;
                return (Side * Side) + (int)AnyResolutionPacking.Plan(Side, maxTiles: 9, tileRows: 1, tileColumns: 1, 384, 384).Tokens;
            }

            var processor = new QwenImageProcessor(256 * 28 * 28, 1280 * 28 * 28, 14, 2, 2, new PixelScaling(1, [0, 0, 0], [1, 1, 1]));
            var (height, width) = processor.SmartResize(size.Height, size.Width);
            return height * width / (28 * 28);
        }
    }
}
