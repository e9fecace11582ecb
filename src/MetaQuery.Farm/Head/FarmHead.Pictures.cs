using System.Security.Cryptography;

namespace MetaQuery.Farm;

/// <content>The pictures that come with a job.</content>
public sealed partial class FarmHead
{
    /// <summary>How this job's pictures are got at: those that came with it by their names, those of a file of this machine beside it; nothing else is opened.</summary>
    private async Task<Func<string, byte[]>> OpenerAsync(JobSubmission submission, PictureShelf.Intake keeper, CancellationToken cancellationToken)
    {
        if (submission.Pictures is null)
        {
            return submission.Spec.PromptFile is { } path ? PictureFiles.Beside(Path.GetDirectoryName(Path.GetFullPath(path))!) : PictureFiles.Nothing;
        }

        var byName = new Dictionary<string, string?>(StringComparer.Ordinal); // null: too large
        await foreach (UploadedPicture picture in submission.Pictures.WithCancellation(cancellationToken).ConfigureAwait(false))
        {
            bool isTooLarge = picture.File.Length > PictureLimits.MaxBytes;
            string? sha256 = isTooLarge ? null : Convert.ToHexStringLower(SHA256.HashData(picture.File.Span));
            if (!byName.TryAdd(picture.Name, sha256))
            {
                throw new JobSpecException($"picture {PictureFiles.Shown(picture.Name)} comes twice");
            }

            if (sha256 is not null)
            {
                keeper.Keep(sha256, picture.File.Span);
            }
        }

        var folder = new PictureFolder(_folder.PicturesPath);
        return name => !byName.TryGetValue(name, out string? sha256) ? PictureFiles.Nothing(name)
            : sha256 is null ? throw PictureFiles.TooLarge(PictureFiles.Shown(name)) : folder.Read(sha256).ToArray();
    }

    /// <summary>Of a job that was taken before: nothing is opened again, what was written down then holds.</summary>
    private PictureInput KnownPictures(JobRecord record) => new()
    {
        Known = PictureIndex.Find(_folder.JobPath(record.Id)),
        Refusal = static (_, _) => null,
        Open = static name => throw new PictureException($"{PictureFiles.Shown(name)}: was not kept when the job was taken"),
    };
}
