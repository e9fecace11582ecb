using System.Text.Json;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using MetaQuery.Pipelines;
using MetaQuery.TestKit;
using MetaQuery.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>A real model from a GGUF file: metadata, dequantised rows, chat prompts, hidden states, logits, and greedy answers.</summary>
public sealed class SmolLmKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["smollm2-135m"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var path = parityCase.FindShared(parityCase.Json.GetProperty("gguf").GetProperty("file").GetString()!);
        using var file = GgufFile.Open(path);
        CompareMetadata(file, parityCase, report);
        CompareDequantised(file, parityCase, report);

        using var decoder = CausalDecoder.Load(DecoderConfig.FromGguf(file), file.AsHuggingFace(), packed: true);
        var (tokenizer, template) = (GgufText.ReadTokenizer(file), GgufText.ReadChatTemplate(file));
        var index = 0;
        foreach (var one in parityCase.Json.GetProperty("cases").EnumerateArray())
            Compare(decoder, tokenizer, template, one, index++, parityCase, report);
    }

    private static void CompareMetadata(GgufFile file, ParityCase parityCase, ParityReport report)
    {
        foreach (var property in parityCase.Json.GetProperty("metadata").EnumerateObject())
        {
            var found = file.Metadata.TryGetValue(property.Name, out var value);
            report.That(property.Name, found, "the file does not have it");
            switch (property.Value.ValueKind)
            {
                case JsonValueKind.String:
                    report.Exact(property.Name, value?.AsString(), property.Value.GetString());
                    break;
                case JsonValueKind.Number when value?.Type is GgufValueType.Float32 or GgufValueType.Float64:
                    report.Close(property.Name, value.AsDouble(), property.Value.GetDouble(), ParityTolerance.Exact);
                    break;
                case JsonValueKind.Number:
                    report.Exact<long>(property.Name, [value?.AsInt64() ?? long.MinValue], [property.Value.GetInt64()]);
                    break;
                case JsonValueKind.Array:
                    report.Exact(property.Name, value?.AsStrings() ?? [], [.. property.Value.EnumerateArray().Select(item => item.GetString()!)]);
                    break;
                default:
                    report.Exact(property.Name, [value?.AsBool() ?? false], [property.Value.GetBoolean()]);
                    break;
            }
        }
    }

    private static void CompareDequantised(GgufFile file, ParityCase parityCase, ParityReport report)
    {
        using var samples = SafetensorsFile.Open(parityCase.PathOf("dequant_samples.safetensors"));
        foreach (var key in samples.Keys.Where(key => key.EndsWith(".fp32", StringComparison.Ordinal)))
        {
            using var scope = NewDisposeScope();
            var name = key[(key.IndexOf('.', StringComparison.Ordinal) + 1)..^".fp32".Length];
            var expected = samples.Load(key);
            var actual = file.Load(name, ScalarType.Float32);
            report.Close(key, actual.dim() == 1 ? actual.unsqueeze(0) : actual.narrow(0, 0, expected.shape[0]), expected, parityCase.Tolerance("dequantised"));
        }
    }

    private static void Compare(
        CausalDecoder decoder, Tokenizer tokenizer, ChatTemplate template, JsonElement one, int index, ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        var messages = one.GetProperty("messages").EnumerateArray()
            .Select(message => ChatMessage.OfText(message.GetProperty("role").GetString()!, message.GetProperty("content").GetString()!)).ToList();
        report.Exact($"{index}.prompt", template.Render(messages, addGenerationPrompt: true), one.GetProperty("prompt").GetString());
        var encoded = tokenizer.EncodeToIds(template.RenderSegments(messages, addGenerationPrompt: true)).Select(id => (long)id).ToArray();
        report.Exact($"{index}.input_ids", encoded, parityCase.Inputs.Load($"{index}.input_ids").ToArray());

        var ids = tensor(encoded, [1, encoded.Length]);
        using var actual = new ObservedStates();
        var hidden = decoder.ForwardSequences(decoder.Embed(ids).squeeze(0), [0, encoded.Length], observe: actual.Add);
        var logits = decoder.Logits(hidden);
        var tolerance = parityCase.Tolerance();
        foreach (var key in parityCase.Expected.Keys.Where(key => key.StartsWith($"{index}.", StringComparison.Ordinal)))
        {
            var expected = parityCase.Expected.Load(key);
            switch (key.Split('.')[1..])
            {
                case ["layer", var layer, var part]:
                    var state = actual[$"layer.{layer}"];
                    report.Close(key, part.StartsWith("first", StringComparison.Ordinal)
                        ? state.narrow(0, 0, expected.shape[0]) : state.narrow(0, state.shape[0] - expected.shape[0], expected.shape[0]), expected, tolerance);
                    break;
                case ["final_norm"]:
                    report.Close(key, actual["final_norm"], expected, tolerance);
                    break;
                case ["top10", "ids"]: // two close logits may change places, so their values are compared, at these ids and by rank
                    report.Close(key, logits.gather(1, expected), parityCase.Expected.Load($"{index}.top10.logits"), tolerance);
                    break;
                case ["top10", "logits"]:
                    report.Close(key, logits.topk((int)expected.shape[1], -1).values, expected, tolerance);
                    break;
                case ["logits", "last"]:
                    report.Close(key, logits.select(0, encoded.Length - 1), expected, tolerance);
                    break;
                case ["generated"]:
                    CompareAnswer(decoder, tokenizer, ids, expected.ToArray(), key, one, report);
                    break;
                default:
                    report.That(key, holds: false, "the case expects something that is not compared");
                    break;
            }
        }
    }

    private static void CompareAnswer(CausalDecoder decoder, Tokenizer tokenizer, Tensor ids, long[] expected, string key, JsonElement one, ParityReport report)
    {
        using var continuation = new Continuation(decoder);
        var generated = new List<long>();
        var next = continuation.Read(ids);
        while (generated.Count < expected.Length)
        {
            using var scope = NewDisposeScope();
            generated.Add(next.argmax(-1).item<long>());
            next = continuation.Read(tensor(new[] { generated[^1] }, [1, 1])).MoveToOuterDisposeScope();
        }

        report.Exact(key, generated, expected);
        var end = generated.FindIndex(decoder.Config.EndOfSequenceIds.Contains);
        report.Exact($"{key}: end of turn", [end], [one.GetProperty("endOfTurnAt") is { ValueKind: JsonValueKind.Number } at ? at.GetInt32() : -1]);
        report.Exact($"{key}: text", tokenizer.Decode(generated.Take(end < 0 ? generated.Count : end).Select(id => (int)id)), one.GetProperty("greedyText").GetString());
    }
}
