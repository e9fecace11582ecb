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
        var prompt = new Argument<string>("prompt") { Description = "What the pictures should show; - reads it from stdin. With --image it may be \"\": make the picture again." };
        var image = new Option<string[]>("--image") { Description = "A picture that the prompt is about; may be given several times.", HelpName = "FILE", Arity = ArgumentArity.OneOrMore, AllowMultipleArgumentsPerToken = false };
        var images = Values.Number("--images", "How many pictures (default 1).", 1, 10_000, "-n");
        var outFolder = Values.Text("--out", "Folder for the pictures.", Path.Combine(".", "out", "generate"), "FOLDER");
        var sampling = new SamplingOptions();
        var command = new Command("generate", "Make pictures of one prompt, and a contact sheet.") { prompt, image, images, outFolder };
        sampling.AddTo(command);
        command.SetAction((result, stop) =>
        {
            var pictures = result.GetValue(image) ?? [];
            if (Array.Find(pictures, path => !File.Exists(path)) is { } missing)
            {
                throw new UsageException($"--image {missing}: there is no such file");
            }

            var text = result.GetValue(prompt)!;
            var spec = sampling.Apply(
                new JobSpec
                {
                    Prompts = [pictures.Length > 0 && string.IsNullOrWhiteSpace(text) ? "" : PromptFileCheck.Read(text)],
                    Images = pictures,
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
        var name = $"{Slug(spec.Prompts![0])}-{spec.Seed}";
        var paths = new SortedDictionary<int, string>();
        var shown = new SortedDictionary<int, byte[]>();
        long made = await view.WatchAsync(Task.Run(
            async () =>
            {
                using var farm = sampling.Load(result);
                return await farm.Embedded.GenerateAsync(
                    spec, sampling.FarmOptions(result),
                    image =>
                    {
                        paths.Add(image.SampleIndex, Write(spec.OutFolder, string.Create(CultureInfo.InvariantCulture, $"{name}-{image.SampleIndex:00}"), ImageEncoder.Extension(spec.Format), image.Encoded));
                        if (image.SampleIndex < ContactSheet.MaxImages)
                        {
                            shown.Add(image.SampleIndex, image.Encoded);
                        }
                    },
                    view, stop);
            },
            CancellationToken.None));
        foreach (var path in paths.Values)
        {
            Console.WriteLine(path);
        }

        var sheet = ContactSheet.Render([new ContactSheetGroup(spec.Prompts[0], [.. shown.Values.Select(file => ImageDecoder.Decode(file))])], (int)Math.Max(0, made - shown.Count));
        Console.WriteLine($"contact sheet: {Write(spec.OutFolder, $"{name}-contact-sheet", "png", ImageEncoder.Encode(sheet, ImageFormat.Png))}");
        if (made == spec.ImagesPerPrompt)
        {
            return ExitCodes.Success;
        }

        Console.Error.WriteLine($"farm: {spec.ImagesPerPrompt - made} of {spec.ImagesPerPrompt} images were given up after errors");
        return ExitCodes.CompletedWithErrors;
    }

    /// <summary>Writes a file under its name, or under the next free one: what another prompt or other settings left there stays.</summary>
    private static string Write(string folder, string name, string extension, byte[] content)
    {
        for (var number = 1; ; number++)
        {
            var path = Path.Combine(folder, number == 1 ? $"{name}.{extension}" : string.Create(CultureInfo.InvariantCulture, $"{name}-v{number}.{extension}"));
            if (!File.Exists(path))
            {
                AtomicFile.WriteAllBytes(path, content);
                return path;
            }

            if (new FileInfo(path).Length == content.Length && File.ReadAllBytes(path).AsSpan().SequenceEqual(content))
            {
                return path;
            }
        }
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
