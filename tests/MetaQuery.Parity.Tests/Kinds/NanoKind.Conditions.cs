using MetaQuery.Pipelines;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

public sealed partial class NanoKind
{
    private static void CompareConditions(MetaQueryModelFolder folder, ParityCase parityCase, ParityReport report)
    {
        CompareConditions(folder, packed: false, "", parityCase, report);
        CompareConditions(folder, packed: true, " by packed layers", parityCase, report);
    }

    private static void CompareConditions(MetaQueryModelFolder folder, bool packed, string by, ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        using var text = TextModel.Load(folder, packed: packed);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        var prompts = parityCase.Json.GetProperty("prompts").EnumerateArray()
            .Select(one => (Index: one.GetProperty("index").GetInt32(), Caption: one.GetProperty("prompt").GetString()!)).ToList();
        foreach (var (index, caption) in prompts)
        {
            long[] ids = [.. text.Prompt.Encode(caption), .. text.Model.NewTokenIds()]; // the case leaves out the end of the turn
            report.Exact($"{index}.input_ids{by}", ids, parityCase.Expected.Load($"{index}.input_ids").ToArray());
        }

        encoder.Observe([.. prompts.Select(prompt => prompt.Caption)], (i, hidden, condition) =>
        {
            var index = prompts[i].Index;
            report.Close($"{index}.hidden{by}", hidden.unsqueeze(0), parityCase.Expected.Load($"{index}.hidden"), parityCase.Tolerance("hidden"));
            report.Close($"{index}.condition{by}", condition.unsqueeze(0), parityCase.Expected.Load($"{index}.condition"), parityCase.Tolerance("condition"));
        });
    }
}
