using System.CommandLine;
using MetaQuery.Cli.Output;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Commands;

/// <summary><c>models inspect</c>: what lies in a model folder, and what it lacks to be a MetaQuery.</summary>
internal static class ModelInspectCommand
{
    public static Command Create()
    {
        var folder = new Argument<string>("folder") { Description = "A folder under models/, or a path.", HelpName = "NAME|FOLDER" };
        var json = new Option<bool>("--json") { Description = "Everything, every tensor too, as one JSON object." };
        var command = new Command("inspect", "Show a model folder's parts, their tensors, and what it lacks to be a MetaQuery; no weights are loaded.") { folder, json };
        command.SetAction((result, _) =>
        {
            var lacksNothing = InspectionReport.Write(InstalledModels.Find(result.GetValue(folder)!, "models inspect"), result.GetValue(json));
            return Task.FromResult(lacksNothing ? ExitCodes.Success : ExitCodes.Model);
        });
        return command;
    }
}
