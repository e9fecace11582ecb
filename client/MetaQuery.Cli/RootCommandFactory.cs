using System.CommandLine;
using MetaQuery.Cli.Commands;

namespace MetaQuery.Cli;

/// <summary>All commands. Creating them loads nothing but this assembly, so that help is quick.</summary>
internal static class RootCommandFactory
{
    public static RootCommand Create() => new("MetaQuery.Farm: turns prompts into pictures, and prompt files into image data sets.")
    {
        GenerateCommand.Create(),
        JobCommand.Create(),
        DemoCommand.Create(),
        WorkerRun.AddTo(new Command("worker", "Work for a farm's head over Redis; SIGTERM drains.")),
        ChatCommand.Create(),
        ModelsCommand.Create(),
    };
}
