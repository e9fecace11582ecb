using System.CommandLine;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Commands;

/// <summary><c>demo</c>: a small job that shows what the shipped model can do.</summary>
internal static class DemoCommand
{
    public static Command Create()
    {
        var outFolder = Values.Text("--out", "Folder for shards, manifest and contact sheet.", Path.Combine(".", "out", "demo"), "FOLDER");
        var sampling = new SamplingOptions();
        var command = new Command("demo", "Run the demonstration job: 24 prompts, 2 pictures each.") { outFolder };
        sampling.AddTo(command);
        command.SetAction((result, stop) => JobCommand.RunAsync(
            sampling,
            result,
            sampling.Apply(
                new JobSpec { PromptFile = Path.Combine(AppContext.BaseDirectory, "demo", "prompts.txt"), OutFolder = result.GetValue(outFolder)!, ImagesPerPrompt = 2 },
                result),
            sampling.FarmOptions(result),
            stop));
        return command;
    }
}
