using System.CommandLine;
using MetaQuery.Farm;
using MetaQuery.Silo;

namespace MetaQuery.Cli.Commands;

/// <summary><c>models random</c>: a folder of a family member's real shapes with weights that mean nothing.</summary>
internal static class RandomModelCommand
{
    public static Command Create()
    {
        var folder = new Argument<string>("folder") { Description = "A folder that does not exist yet, or is empty." };
        var family = Values.Choice(
            "--family", "Whose shapes: metaquery-b, -l or -xl, each also with -sd; tiny and tiny-llava, each also with -sd, are for tests.", "metaquery-l", "NAME", [.. RandomModels.Families]);
        var dtype = Values.Dtype("bfloat16");
        var seed = Values.Number("--seed", "Another seed, other weights (default 0).", 0UL, ulong.MaxValue);
        var command = new Command("random", "Write a model of a family member's real shapes with random weights, to try memory and speed: its pictures show nothing.")
        {
            folder, family, dtype, seed,
        };
        command.SetAction(result =>
        {
            var bytes = RandomModels.Write(
                result.GetValue(folder)!, result.GetValue(family)!, result.GetValue(dtype) ?? "bfloat16", result.GetValue(seed) ?? 0, Console.Error.WriteLine);
            Console.WriteLine($"{result.GetValue(folder)}: {bytes / 1e9:0.00} GB of random weights in the shapes of {result.GetValue(family)}");
            return ExitCodes.Success;
        });
        return command;
    }
}
