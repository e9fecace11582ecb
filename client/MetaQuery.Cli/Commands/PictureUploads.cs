using MetaQuery.Client;
using MetaQuery.Data;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Commands;

/// <summary>The pictures that a prompt file names, to be sent with it: the server opens none by itself.</summary>
internal static class PictureUploads
{
    /// <summary>One per name, in the order of the lines. A file that is not there or may not be read is left out: its lines fail alone, and the server says
    /// so. Of one that is too large no more is sent than tells it.</summary>
    /// <exception cref="PromptFileException">The prompt file cannot be read.</exception>
    /// <exception cref="FarmException">Where a picture lies nothing can be read now.</exception>
    public static IReadOnlyList<PictureUpload> Of(string promptFile, CancellationToken cancellationToken)
    {
        var folder = Path.GetDirectoryName(Path.GetFullPath(promptFile))!;
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var uploads = new List<PictureUpload>();
        foreach (var line in PromptFile.Open(promptFile).Read())
        {
            cancellationToken.ThrowIfCancellationRequested();
            foreach (var name in line.Images.Where(name => !DataUri.IsOne(name) && seen.Add(name)))
            {
                if (PictureFiles.CanBeRead(name, folder))
                {
                    uploads.Add(new PictureUpload(name, () => new MemoryStream(PictureFiles.ReadFirst(name, folder))));
                }
            }
        }

        return uploads;
    }
}
