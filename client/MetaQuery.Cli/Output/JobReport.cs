using System.Globalization;
using MetaQuery.Data;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Output;

/// <summary>What a job came to, on stdout; what went wrong with single lines or samples, on stderr.</summary>
internal static class JobReport
{
    /// <returns>The exit code.</returns>
    public static int Write(JobSpec spec, JobResult result)
    {
        Skipped(result.SkippedLines);
        foreach (var failed in result.FailedSamples)
        {
            Console.Error.WriteLine(Failure.OneLine($"failed: {failed.Key}: {failed.Reason}"));
        }

        var progress = result.Progress;
        if (result.State == JobState.Cancelled)
        {
            Console.Error.WriteLine($"farm: stopped at {progress.Written} of {progress.Images} images; the same command goes on from there");
            return result.ExitCode;
        }

        Console.WriteLine(Made(spec.OutFolder, progress, result.Stats));
        if (result.ContactSheet is { } sheet)
        {
            Console.WriteLine($"contact sheet: {sheet}");
        }

        if (progress.Failed > 0)
        {
            Console.Error.WriteLine("farm: " + GivenUp(spec.OutFolder, progress.Failed));
        }

        return result.ExitCode;
    }

    public static void Write(JobSpec spec, JobPlanSummary plan)
    {
        Skipped(plan.SkippedLines);
        var settings = plan.Settings;
        Console.WriteLine($"prompts:        {plan.Prompts} ({plan.UniquePrompts} to encode, and {plan.UniqueNegativePrompts} negative ones)");
        if (plan.PromptsWithPictures > 0)
        {
            foreach (var line in plan.UnusableLines)
            {
                Console.Error.WriteLine(Failure.OneLine("cannot be made: " + line));
            }

            var unusable = plan.UnusablePrompts > 0 ? $", {plan.UnusablePrompts} of them cannot be made" : "";
            Console.WriteLine($"with pictures:  {plan.PromptsWithPictures} prompts{unusable}");
        }

        Console.WriteLine($"images:         {plan.Images} ({settings.ImagesPerPrompt} per prompt), {plan.AlreadyCommitted} of them made already");
        Console.WriteLine($"shards:         {plan.Shards} of up to {settings.SamplesPerShard} samples, about {Sizes.Bytes(plan.EstimatedBytes)} in {spec.OutFolder}");
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"settings:       {settings.Size}, {settings.NumInferenceSteps} steps, guidance {settings.GuidanceScale}, seed {settings.Seed}, {settings.Format.ToString().ToLowerInvariant()}, batches of {settings.BatchSize}"));
        Console.WriteLine("nothing was made (--dry-run)");
    }

    internal static string Made(string outFolder, JobProgress progress, JobStats stats) => $"{Images(progress.Written)} in {outFolder}: " + (
        stats.Images > 0 ? string.Create(CultureInfo.InvariantCulture, $"{stats.Images} made now at {stats.ImagesPerSecond:0.0} images/s, {stats.ConditionPasses} condition passes")
        : progress.Failed > 0 ? "none made now"
        : "complete already, nothing to do");

    internal static string GivenUp(string outFolder, long failed) =>
        $"{Images(failed)} {(failed == 1 ? "was" : "were")} given up; {Path.Combine(outFolder, "*_failed.jsonl")} list{(failed == 1 ? "s it" : " them")}, --retry-failed tries {(failed == 1 ? "it" : "them")} again";

    private static string Images(long count) => count == 1 ? "1 image" : $"{count} images";

    private static void Skipped(IReadOnlyList<string> lines)
    {
        foreach (var line in lines)
        {
            Console.Error.WriteLine(Failure.OneLine("skipped: " + line));
        }
    }
}
