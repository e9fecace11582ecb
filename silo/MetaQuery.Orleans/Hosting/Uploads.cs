using System.Runtime.CompilerServices;
using MetaQuery.Data;
using MetaQuery.Farm;

namespace MetaQuery.Orleans;

/// <summary>What was uploaded, on its way from the silo that a request reached to the one that holds the head: files in the data folder's <c>uploads/</c>, gone once the head has answered.</summary>
/// <remarks>A submission whose <see cref="JobSubmission.PromptsFormat"/> is set and whose stream is not names the prompts' file in there by <see cref="JobSpec.PromptFile"/>; its pictures lie beside
/// it. The name alone: each silo sees the folder under a path of its own.</remarks>
internal static class Uploads
{
    private const string FolderName = "uploads";
    private const string PicturesEnding = ".pictures";

    /// <summary>How long a file may lie untouched: who uploads writes to it, and who waits for the head's answer touches it with each question, so that none older is asked for.</summary>
    public static readonly TimeSpan KeptFor = TimeSpan.FromHours(1);

    /// <summary>Puts a submission's streams into the data folder.</summary>
    /// <returns>The submission without them.</returns>
    /// <exception cref="JobSpecException">The prompts' format is not known.</exception>
    /// <exception cref="StorageException">The folder takes nothing.</exception>
    public static async Task<JobSubmission> StoreAsync(JobSubmission submission, string dataFolder, Guid ticket, CancellationToken cancellationToken)
    {
        if (submission.PromptsFormat is not ("txt" or "jsonl" or "csv"))
        {
            throw new JobSpecException($"the prompts' format \"{submission.PromptsFormat}\" is not known; txt, jsonl and csv are");
        }

        string name = $"{ticket:n}.{submission.PromptsFormat}";
        string path = PathOf(name, dataFolder);
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            await using (FileStream prompts = Create(path))
            {
                await submission.Prompts!.CopyToAsync(prompts, cancellationToken);
            }

            if (submission.Pictures is { } pictures)
            {
                await using FileStream file = Create(path + PicturesEnding);
                using var writer = new BinaryWriter(file);
                await foreach (UploadedPicture picture in pictures.WithCancellation(cancellationToken))
                {
                    writer.Write(picture.Name);
                    writer.Write(picture.File.Length);
                    writer.Write(picture.File.Span);
                }
            }
        }
        catch (Exception exception)
        {
            Remove(path);
            if (exception is UnauthorizedAccessException || StorageException.IsDiskFull(exception))
            {
                throw StorageException.From(exception, path);
            }

            throw;
        }

        return submission with { Prompts = null, Pictures = null, Spec = submission.Spec with { PromptFile = name } };
    }

    /// <summary>The submission with its streams again, as the request brought it; the prompts' stream is the caller's to dispose.</summary>
    public static JobSubmission Open(JobSubmission submission, string dataFolder)
    {
        if (submission.PromptsFormat is null || submission.Spec.PromptFile is not { } name)
        {
            return submission;
        }

        string path = PathOf(name, dataFolder);
        return submission with
        {
            Spec = submission.Spec with { PromptFile = null }, // or its lines could name files beside it
            Prompts = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete),
            Pictures = File.Exists(path + PicturesEnding) ? ReadAsync(path + PicturesEnding) : null,
        };
    }

    /// <summary>Says that what was stored is still asked for.</summary>
    public static void KeepUp(JobSubmission stored, string dataFolder)
    {
        if (stored is { PromptsFormat: not null, Spec.PromptFile: { } name })
        {
            foreach (string file in FilesOf(PathOf(name, dataFolder)).Where(File.Exists))
            {
                File.SetLastWriteTimeUtc(file, DateTime.UtcNow);
            }
        }
    }

    /// <summary>Removes what silos left behind that died before they had their answer.</summary>
    /// <param name="dataFolder">The head's.</param>
    /// <param name="now">Uploads of which both files are untouched for <see cref="KeptFor"/> before it go.</param>
    /// <exception cref="IOException">The folder cannot be read or written; the next sweep may.</exception>
    /// <exception cref="UnauthorizedAccessException">Likewise.</exception>
    public static void Sweep(string dataFolder, DateTimeOffset now)
    {
        string folder = Path.Combine(dataFolder, FolderName);
        if (Directory.Exists(folder))
        {
            // the prompts' file is whole while pictures may still come for hours
            IEnumerable<IGrouping<string, string>> uploads = Directory.EnumerateFiles(folder)
                .GroupBy(file => file.EndsWith(PicturesEnding, StringComparison.Ordinal) ? file[..^PicturesEnding.Length] : file, StringComparer.Ordinal);
            foreach (IGrouping<string, string> upload in uploads.Where(upload => upload.Max(File.GetLastWriteTimeUtc) < now.UtcDateTime - KeptFor))
            {
                Array.ForEach([.. upload], File.Delete);
            }
        }
    }

    /// <summary>Removes what was stored.</summary>
    public static void Remove(JobSubmission stored, string dataFolder)
    {
        if (stored is { PromptsFormat: not null, Spec.PromptFile: { } name })
        {
            Remove(PathOf(name, dataFolder));
        }
    }

    private static void Remove(string path)
    {
        foreach (string file in FilesOf(path).Where(File.Exists))
        {
            File.Delete(file);
        }
    }

    private static string PathOf(string name, string dataFolder) => Path.Combine(dataFolder, FolderName, Path.GetFileName(name));

    private static string[] FilesOf(string path) => [path, path + PicturesEnding];

    private static FileStream Create(string path) => new(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read);

    private static async IAsyncEnumerable<UploadedPicture> ReadAsync(string path, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        await using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        using var reader = new BinaryReader(file);
        while (file.Position < file.Length)
        {
            cancellationToken.ThrowIfCancellationRequested();
            string name = reader.ReadString();
            yield return new UploadedPicture(name, reader.ReadBytes(reader.ReadInt32()));
        }
    }
}
