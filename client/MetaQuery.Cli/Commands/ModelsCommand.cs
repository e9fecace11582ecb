using System.CommandLine;
using MetaQuery.Cli.Output;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Commands;

/// <summary><c>models</c>: what is installed, with licence, size and sha256 of every file of weights.</summary>
internal static class ModelsCommand
{
    public static Command Create()
    {
        var command = new Command("models", "List the installed models, with licence, size and sha256.") { ModelInspectCommand.Create(), RandomModelCommand.Create() };
        command.SetAction((_, stop) => Task.FromResult(List(stop)));
        return command;
    }

    private static int List(CancellationToken stop)
    {
        var models = InstalledModels.All(withSha256: true, stop);
        foreach (var model in models)
        {
            Console.WriteLine(model.Problem is { } problem
                ? $"{model.Name}: cannot be used: {problem}"
                : $"{model.Name}: {Sizes.Bytes(model.Bytes)} in {model.Folder}");
            foreach (var part in model.Parts)
            {
                Console.WriteLine($"  {part.Name}: {part.ClassName ?? "weights"}, {part.Format}, licence {part.Licence ?? "not stated"}");
                foreach (var file in part.Files)
                {
                    Console.WriteLine($"    {file.Path}, {Sizes.Bytes(file.Bytes)}, sha256 {file.Sha256}");
                }
            }
        }

        if (models.Count == 0)
        {
            Console.WriteLine($"no model lies in {InstalledModels.Folder}");
        }

        return models.All(m => m.Problem is null) ? ExitCodes.Success : ExitCodes.Model;
    }
}
