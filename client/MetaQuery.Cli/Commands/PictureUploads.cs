using MetaQuery.Client;
using MetaQuery.Data;

namespace MetaQuery.Cli.Commands;

/// <summary>The pictures that a prompt file names, to be sent with it: the server opens none by itself.</summary>
internal static class PictureUploads
{
    private const string DataScheme = "data:";

    /// <summary>One per name, in the order of the lines. A file that is not there is left out: its lines fail alone, and the server says so.</summary>
    /// <exception cref="PromptFileException">The prompt file cannot be read.</exception>
    public static IReadOnlyList<PictureUpload> Of(string promptFile, CancellationToken cancellationToken)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(promptFile))!;
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var uploads = new List<PictureUpload>();
        foreach (var line in PromptFile.Open(promptFile).Read())
        {
            cancellationToken.ThrowIfCancellationRequested();
            foreach (var name in line.Images.Where(name => !name.StartsWith(DataScheme, StringComparison.OrdinalIgnoreCase) && seen.Add(name)))
            {
                var path = Path.GetFullPath(name, folder);
                if (File.Exists(path))
                {
                    uploads.Add(new PictureUpload(name, () => File.OpenRead(path)));
                }
            }
        }

        return uploads;
    }
}
