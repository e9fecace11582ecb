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
        ServeCommand.Create(),
        WorkerCommand.Create(),
        SiloCommand.Create(),
        KeysCommand.Create(),
        TenantCommand.Create(),
        ChatCommand.Create(),
        ModelsCommand.Create(),
    };
}
