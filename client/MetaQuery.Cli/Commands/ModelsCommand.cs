using System.CommandLine;
using MetaQuery.Cli.Output;
using MetaQuery.Farm;
using MetaQuery.Pipelines;

namespace MetaQuery.Cli.Commands;

/// <summary><c>models</c>: what is installed, with licence, size and sha256 of every file.</summary>
internal static class ModelsCommand
{
    public static Command Create()
    {
        var command = new Command("models", "List the installed models, with licence, size and sha256.");
        command.SetAction((_, _) => Task.FromResult(List()));
        return command;
    }

    private static int List()
    {
        var folders = InstalledModels.All().ToList();
        if (folders.Count == 0)
        {
            Console.WriteLine($"no model lies in {InstalledModels.Folder}");
        }

        foreach (var folder in folders)
        {
            var model = MetaQueryModelFolder.Open(folder);
            Console.WriteLine($"{model.Name}: {Sizes.Bytes(model.Files.Sum(f => f.Bytes))}, sha256 {model.Revision}, {folder}");
            var width = model.Files.Max(f => f.Path.Length);
            foreach (var file in model.Files)
            {
                Console.WriteLine($"  {file.Path.PadRight(width)}  {Sizes.Bytes(file.Bytes),11}  sha256 {file.Sha256}  {InstalledModels.LicenceOf(folder, file.Path)}");
            }
        }

        return ExitCodes.Success;
    }
}
