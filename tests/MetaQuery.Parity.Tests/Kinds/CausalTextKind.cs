using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Llama and Qwen2 from a transformers folder: a left-padded batch, layer by layer, then a greedy continuation.</summary>
public sealed class CausalTextKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["qwen2-text", "llama-text"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        var folder = HuggingFaceFolder.Open(parityCase.PathOf(parityCase.Json.GetProperty("model").GetString()!));
        using var weights = folder.OpenWeights();
        using var decoder = CausalDecoder.Load(DecoderConfig.FromTransformers(folder.ReadConfig()), weights);
        var ids = parityCase.Inputs.Load("input_ids");
        var mask = parityCase.Inputs.Load("attention_mask");

        using var actual = new ObservedStates();
        var embeddings = decoder.Embed(ids);
        actual.Add("embedding", embeddings);
        actual.Add("logits", decoder.Logits(decoder.Forward(embeddings, Attention.Positions(mask), Attention.CausalMask(mask, ids.shape[1]), observe: actual.Add)));

        var tolerance = parityCase.Tolerance();
        foreach (var name in parityCase.Expected.Keys.Where(name => !name.StartsWith("generated", StringComparison.Ordinal)))
        {
            report.That(name, actual.Find(name) is not null, "the decoder does not show it");
            if (actual.Find(name) is { } value)
                report.Close(name, value.RealTokens(mask), parityCase.Expected.Load(name).RealTokens(mask), tolerance);
        }

        Continue(decoder, ids, mask, parityCase, report);
        ComparePacked(folder, weights, ids, mask, parityCase, report);
    }

    /// <summary>The rows once more, without their padding one behind the other, by the layers that inference on the CPU uses.</summary>
    private static void ComparePacked(HuggingFaceFolder folder, WeightSource weights, Tensor ids, Tensor mask, ParityCase parityCase, ParityReport report)
    {
        using var decoder = CausalDecoder.Load(DecoderConfig.FromTransformers(folder.ReadConfig()), weights, packed: true);
        var lengths = mask.sum(1).ToArray();
        long[] offsets = [0, .. lengths.Select((_, row) => lengths.Take(row + 1).Sum())];
        using var actual = new ObservedStates();
        actual.Add("logits", decoder.Logits(decoder.ForwardSequences(decoder.Embed(ids).RealTokens(mask), offsets, observe: actual.Add)));
        foreach (var name in parityCase.Expected.Keys.Where(name => actual.Find(name) is not null))
            report.Close($"{name} by packed layers", actual[name], parityCase.Expected.Load(name).RealTokens(mask), parityCase.Tolerance());

        var expected = parityCase.Expected.Load("generated");
        for (var row = 0; row < lengths.Length; row++)
        {
            using var scope = NewDisposeScope();
            using var continuation = new Continuation(decoder);
            var next = continuation.Read(ids[row].narrow(0, ids.shape[1] - lengths[row], lengths[row]).unsqueeze(0));
            var tokens = new List<long>();
            while (tokens.Count < expected.shape[1])
            {
                tokens.Add(next.argmax(-1).item<long>());
                next = continuation.Read(tensor(new[] { tokens[^1] }, [1, 1]));
            }

            report.Exact<long>($"generated[{row}] by packed layers", tokens, expected[row].ToArray());
        }
    }

    private static void Continue(CausalDecoder decoder, Tensor ids, Tensor mask, ParityCase parityCase, ParityReport report)
    {
        var expected = parityCase.Expected.Load("generated");
        using var continuation = new Continuation(decoder);
        var (tokens, logits) = (new List<Tensor>(), new List<Tensor>());
        var next = continuation.Read(ids, mask);
        for (var step = 0; step < expected.shape[1]; step++)
        {
            logits.Add(next);
            tokens.Add(next.argmax(-1, keepdim: true));
            next = continuation.Read(tokens[^1]);
        }

        report.Exact("generated", cat(tokens, 1).ToArray(), expected.ToArray());
        report.Close("generated_logits", stack(logits, 1), parityCase.Expected.Load("generated_logits"), parityCase.Tolerance());
    }
}
