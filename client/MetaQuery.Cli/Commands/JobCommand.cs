using System.CommandLine;
using MetaQuery.Cli.Output;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Commands;

/// <summary><c>job run</c>: a prompt file becomes a sharded data set.</summary>
internal static class JobCommand
{
    public static Command Create()
    {
        var command = new Command("job", "Jobs: prompt files that become image data sets, in this process or on a farm's server.") { CreateRun(), SubmitCommand.Create() };
        RemoteJobCommands.AddTo(command);
        return command;
    }

    private static Command CreateRun()
    {
        var promptFile = new Argument<string>("prompts") { Description = "A .txt, .jsonl or .csv file of prompts in UTF-8 (docs/data.md)." };
        var imagesPerPrompt = Values.Number("--images-per-prompt", "Pictures of each prompt (default 1).", 1, 100_000, "-n");
        var outFolder = new Option<string>("--out") { Description = "Folder for shards, manifest and contact sheet.", HelpName = "FOLDER", Required = true };
        var shardSize = Values.Number("--shard-size", "Samples in a shard (default 10000).", 1, 10_000_000);
        var skipInvalid = new Option<bool>("--skip-invalid") { Description = "Leave out bad lines and list them; otherwise the first one stops the job before it starts." };
        var dryRun = new Option<bool>("--dry-run") { Description = "Say what would be made, and make nothing." };
        var allowOther = new Option<bool>("--allow-other-numerics") { Description = "Go on with a job that other numerics began: its bytes may then differ." };
        var retryFailed = new Option<bool>("--retry-failed") { Description = "Try pictures again that an earlier run gave up." };
        var cache = new Option<string?>("--cache") { Description = "A folder that keeps conditions for other jobs.", HelpName = "FOLDER" };
        var encodeBatch = Values.Number("--encode-batch", "Prompts encoded together (default 16).", 1, 1024);
        var sampling = new SamplingOptions();
        var command = new Command("run", "Run a job, or go on with one that was stopped.")
        {
            promptFile, imagesPerPrompt, outFolder, shardSize, skipInvalid, dryRun, allowOther, retryFailed, cache, encodeBatch,
        };
        sampling.AddTo(command);
        command.SetAction((result, stop) =>
        {
            var spec = sampling.Apply(
                new JobSpec
                {
                    PromptFile = result.GetValue(promptFile),
                    OutFolder = result.GetValue(outFolder)!,
                    ImagesPerPrompt = result.GetValue(imagesPerPrompt) ?? 1,
                    SamplesPerShard = result.GetValue(shardSize) ?? 10_000,
                    SkipInvalid = result.GetValue(skipInvalid),
                },
                result);
            var options = sampling.FarmOptions(result) with
            {
                AllowOtherNumerics = result.GetValue(allowOther),
                RetryFailed = result.GetValue(retryFailed),
                CacheFolder = result.GetValue(cache),
                EncodeBatchSize = result.GetValue(encodeBatch) ?? new FarmOptions().EncodeBatchSize,
            };
            return result.GetValue(dryRun) ? PlanAsync(sampling, result, spec, options, stop) : RunAsync(sampling, result, spec, options, stop);
        });
        return command;
    }

    /// <summary>Runs a job and says what came of it.</summary>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(SamplingOptions sampling, ParseResult result, JobSpec spec, FarmOptions options, CancellationToken stop)
    {
        PromptFileCheck.Quickly(spec, stop);
        var view = new ProgressView();
        var ended = await view.WatchAsync(Task.Run(
            async () =>
            {
                using var farm = sampling.Load(result);
                return await farm.Embedded.RunAsync(spec, options, view, stop);
            },
            CancellationToken.None));
        return JobReport.Write(spec, ended);
    }

    private static async Task<int> PlanAsync(SamplingOptions sampling, ParseResult result, JobSpec spec, FarmOptions options, CancellationToken stop)
    {
        PromptFileCheck.Quickly(spec, stop);
        JobReport.Write(spec, await EmbeddedFarm.PlanAsync(sampling.Describe(result), spec, options, stop));
        return ExitCodes.Success;
    }
}
