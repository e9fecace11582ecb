using MetaQuery.Models.Mllm;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

public sealed partial class VisionLanguageKind
{
    private sealed partial class CaseRun
    {
        private void CompareIds(int row, PromptTokens prompt)
        {
            var padded = parityCase.Inputs.Load("input_ids")[row].ToArray();
            var padding = padded.Length - prompt.Ids.Length;
            report.Exact<long>($"input_ids[{row}]", prompt.Ids, padded[Math.Max(0, padding)..]);
            report.Exact<long>($"attention_mask[{row}]", [.. Enumerable.Range(0, padded.Length).Select(i => i < padding ? 0L : 1L)], parityCase.Inputs.Load("attention_mask")[row].ToArray());
            if (!parityCase.Inputs.Contains("position_ids"))
                return;
            var axes = new PositionAxes();
            prompt.AddTo(axes, 0);
            var expected = parityCase.Inputs.Load("position_ids").select(1, row).narrow(1, padding, prompt.Ids.Length).contiguous();
            report.Exact<long>($"position_ids[{row}]", axes.Of(0, prompt.Ids.Length).ToArray(), expected.ToArray());
            report.Exact<long>($"rope_deltas[{row}]", [axes.Delta - padding], parityCase.Inputs.Load("rope_deltas")[row].ToArray());
        }

        /// <summary>A row alone: the reference's own rows differ from a batch's by a hundredth of the tolerance.</summary>
        private void CompareStates(int row, PromptTokens prompt)
        {
            using var scope = NewDisposeScope();
            using var shown = new ObservedStates();
            using var continuation = new Continuation(decoder);
            var next = continuation.Read(prompt, shown.Add);
            var length = prompt.Ids.Length;
            var tolerance = parityCase.Tolerance();
            foreach (var name in parityCase.Expected.Keys.Where(name => name is "embedding" or "final_norm" || name.StartsWith("layer.", StringComparison.Ordinal)))
            {
                report.That($"{name}{by}", shown.Find(name) is not null, "the decoder does not show it");
                if (shown.Find(name) is { } value)
                    report.Close($"{name}[{row}]{by}", value.view(length, -1), Last(parityCase.Expected.Load(name)[row], length), tolerance);
            }

            var expected = parityCase.Expected.Load("logits.last8")[row];
            var count = Math.Min(length, expected.shape[0]);
            report.Close($"logits.last8[{row}]{by}", decoder.Logits(Last(shown["final_norm"].view(length, -1), count)), Last(expected, count), tolerance);

            var (tokens, logits) = (new List<long>(), new List<Tensor>());
            var generated = parityCase.Expected.Load("generated")[row].ToArray();
            for (var step = 0; step < generated.Length; step++)
            {
                logits.Add(next);
                tokens.Add(next.argmax(-1).item<long>());
                next = continuation.Read(tensor(new[] { tokens[^1] }, [1, 1]));
            }

            report.Exact<long>($"generated[{row}]{by}", tokens, generated);
            report.Close($"generated_logits[{row}]{by}", cat(logits, 0), parityCase.Expected.Load("generated_logits")[row], tolerance);
        }

        private static Tensor Last(Tensor rows, long count) => rows.narrow(0, rows.shape[0] - count, count);
    }
}
