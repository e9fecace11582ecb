using System.CommandLine;
using System.Globalization;
using MetaQuery.Cli.Output;
using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Imaging;

namespace MetaQuery.Cli.Commands;

/// <summary><c>generate</c>: pictures of one prompt, as files, and a contact sheet.</summary>
internal static class GenerateCommand
{
    private const int LongestSlug = 48;

    public static Command Create()
    {
        var prompt = new Argument<string>("prompt") { Description = "What the pictures should show; - reads it from stdin." };
        var images = Values.Number("--images", "How many pictures (default 1).", 1, 10_000, "-n");
        var outFolder = Values.Text("--out", "Folder for the pictures.", Path.Combine(".", "out", "generate"), "FOLDER");
        var sampling = new SamplingOptions();
        var command = new Command("generate", "Make pictures of one prompt, and a contact sheet.") { prompt, images, outFolder };
        sampling.AddTo(command);
        command.SetAction((result, stop) =>
        {
            var spec = sampling.Apply(
                new JobSpec
                {
                    Prompts = [PromptFileCheck.Read(result.GetValue(prompt)!)],
                    OutFolder = result.GetValue(outFolder)!,
                    ImagesPerPrompt = result.GetValue(images) ?? 1,
                },
                result);
            return RunAsync(sampling, result, spec, stop);
        });
        return command;
    }

    private static async Task<int> RunAsync(SamplingOptions sampling, ParseResult result, JobSpec spec, CancellationToken stop)
    {
        CheckFolder(spec.OutFolder);
        var view = new ProgressView();
        var made = await view.WatchAsync(Task.Run(
            async () =>
            {
                using var farm = sampling.Load(result);
                return await farm.Embedded.GenerateAsync(spec, sampling.FarmOptions(result), view, stop);
            },
            CancellationToken.None));
        var name = $"{Slug(spec.Prompts![0])}-{spec.Seed}";
        foreach (var image in made)
        {
            var path = Path.Combine(spec.OutFolder, string.Create(CultureInfo.InvariantCulture, $"{name}-{image.SampleIndex:00}.{ImageEncoder.Extension(spec.Format)}"));
            AtomicFile.WriteAllBytes(path, image.Encoded);
            Console.WriteLine(path);
        }

        var sheet = ContactSheet.Render([new ContactSheetGroup(spec.Prompts[0], [.. made.Take(ContactSheet.MaxImages).Select(i => i.Image)])], Math.Max(0, made.Count - ContactSheet.MaxImages));
        var sheetPath = Path.Combine(spec.OutFolder, $"{name}-contact-sheet.png");
        AtomicFile.WriteAllBytes(sheetPath, ImageEncoder.Encode(sheet, ImageFormat.Png));
        Console.WriteLine($"contact sheet: {sheetPath}");
        if (made.Count == spec.ImagesPerPrompt)
        {
            return ExitCodes.Success;
        }

        Console.Error.WriteLine($"farm: {spec.ImagesPerPrompt - made.Count} of {spec.ImagesPerPrompt} images were given up after errors");
        return ExitCodes.CompletedWithErrors;
    }

    // Before minutes of work, not after them.
    private static void CheckFolder(string folder)
    {
        if (string.IsNullOrWhiteSpace(folder))
        {
            throw new UsageException("--out: names no folder");
        }

        try
        {
            Directory.CreateDirectory(folder);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw StorageException.From(error, folder);
        }

        AtomicFile.Create(Path.Combine(folder, "probe")).Dispose();
    }

    /// <summary>A prompt as part of a file name: its letters and digits, with dashes between.</summary>
    internal static string Slug(string prompt)
    {
        var words = new string([.. prompt.ToLowerInvariant().Select(c => char.IsLetterOrDigit(c) ? c : ' ')]).Split(' ', StringSplitOptions.RemoveEmptyEntries);
        var slug = string.Join('-', words);
        slug = slug.Length <= LongestSlug ? slug : slug[..LongestSlug].TrimEnd('-');
        return slug.Length == 0 ? "image" : slug;
    }
}
