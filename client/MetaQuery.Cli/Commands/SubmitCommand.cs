using System.CommandLine;
using System.Globalization;
using MetaQuery.Cli.Output;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Imaging;

namespace MetaQuery.Cli.Commands;

/// <summary><c>job submit</c>: sends a prompt file to a farm.</summary>
internal static class SubmitCommand
{
    public static Command Create()
    {
        var file = new Argument<string>("prompts") { Description = "A .txt, .jsonl or .csv file of prompts in UTF-8 (docs/data.md)." };
        var name = new Option<string?>("--name") { Description = "Of the job, for people (default: the file's).", HelpName = "TEXT" };
        var images = Values.Number("--images-per-prompt", "Pictures of each prompt (default 1).", 1, 100_000, "-n");
        var size = Values.Size();
        var steps = Values.Number("--steps", "Denoising steps (default: the model's).", 1, 1000);
        var guidance = Values.Number("--guidance", "Guidance scale; 1 or less is none (default: the model's).", 0f, 100f);
        var imageGuidance = Values.ImageGuidance();
        var negative = Values.Text("--negative-prompt", "What the pictures should not show.", "", "TEXT");
        var seed = Values.Number("--seed", "Seed of the whole job; each picture's own is made of it (default 0).", 0UL, ulong.MaxValue);
        var shardSize = Values.Number("--shard-size", "Samples in a shard (default 10000).", 1, 10_000_000);
        var format = Values.Format();
        var quality = Values.Number("--quality", "Of jpg and webp (default 95).", 1, 100);
        var batchSize = Values.Number("--batch-size", "Pictures denoised together (default: the model's).", 1, 1024);
        var interactive = new Option<bool>("--interactive") { Description = "Go before bulk jobs." };
        var skipInvalid = new Option<bool>("--skip-invalid") { Description = "Leave out bad lines and list them; otherwise the first one refuses the job." };
        var limit = Values.Number("--deadline", "Cancel the job after so many minutes.", 0.01, 525_600.0);
        var timeout = Values.Number("--task-timeout", "Longest time of one batch in seconds.", 1.0, 86_400.0);
        var key = new Option<string?>("--idempotency-key") { Description = "The same key with the same content gives the job made before.", HelpName = "TEXT" };
        var watch = new Option<bool>("--watch") { Description = "Stay until the job has ended." };
        var command = new Command("submit", "Send a prompt file to a farm's server.")
        {
            file, name, images, size, steps, guidance, imageGuidance, negative, seed, shardSize, format, quality, batchSize, interactive, skipInvalid, limit, timeout, key, watch,
        };
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            var path = result.GetValue(file)!;
            PromptFileCheck.Quickly(new JobSpec { PromptFile = path, OutFolder = "", SkipInvalid = result.GetValue(skipInvalid) }, stop);
            var request = new JobRequest
            {
                Name = result.GetValue(name) ?? Path.GetFileName(path),
                ImagesPerPrompt = result.GetValue(images),
                Size = result.GetValue(size) is { } pixels ? string.Create(CultureInfo.InvariantCulture, $"{pixels.WidthPixels}x{pixels.HeightPixels}") : null,
                Steps = result.GetValue(steps),
                Guidance = result.GetValue(guidance),
                ImageGuidance = result.GetValue(imageGuidance),
                NegativePrompt = result.GetValue(negative) is { Length: > 0 } text ? text : null,
                Seed = result.GetValue(seed),
                SamplesPerShard = result.GetValue(shardSize),
                Format = ImageEncoder.Extension(result.GetValue(format)),
                Quality = result.GetValue(quality),
                BatchSize = result.GetValue(batchSize),
                Priority = result.GetValue(interactive) ? "interactive" : null,
                SkipInvalid = result.GetValue(skipInvalid) ? true : null,
                Deadline = result.GetValue(limit) is { } minutes ? DateTimeOffset.UtcNow.AddMinutes(minutes) : null,
                TaskTimeoutSeconds = result.GetValue(timeout),
            };
            using var client = server.Connect(result);
            await using var prompts = File.OpenRead(path);
            var job = await client.UploadJobAsync(request, prompts, path, PictureUploads.Of(path, stop), result.GetValue(key), stop);
            RemoteReport.Skipped(job);
            if (!result.GetValue(watch))
            {
                RemoteReport.Submitted(job, server.IsJson(result));
                return ExitCodes.Success;
            }

            return await RemoteJobCommands.WatchAsync(client, job.Id, server, result, stop);
        });
        return command;
    }
}
