using System.CommandLine;
using System.Text.Json;
using MetaQuery.Cli.Output;
using MetaQuery.Client;
using MetaQuery.Farm;
using FarmJobFile = MetaQuery.Client.JobFile;

namespace MetaQuery.Cli.Commands;

/// <summary>What the command line asks of a farm's server about jobs.</summary>
internal static class RemoteJobCommands
{
    public static void AddTo(Command job)
    {
        job.Subcommands.Add(CreateList());
        job.Subcommands.Add(CreateShow());
        job.Subcommands.Add(CreateWatch());
        job.Subcommands.Add(CreateSteer("pause", "Pause a job: what slots have begun is finished.", (client, id, stop) => client.PauseJobAsync(id, stop)));
        job.Subcommands.Add(CreateSteer("resume", "Let a paused job go on.", (client, id, stop) => client.ResumeJobAsync(id, stop)));
        job.Subcommands.Add(CreateSteer("cancel", "Cancel a job: its slots are free within a denoising step; what is written stays.", (client, id, stop) => client.CancelJobAsync(id, stop)));
        job.Subcommands.Add(CreateSteer("retry-failed", "Try again the pictures that were given up.", (client, id, stop) => client.RetryFailedAsync(id, stop)));
        job.Subcommands.Add(CreateSteer("delete", "Delete a finished job and its files from the farm.", (client, id, stop) => client.DeleteJobAsync(id, stop)));
        job.Subcommands.Add(CreateDownload());
    }

    /// <summary>Shows a job's progress until it has ended.</summary>
    /// <returns>The exit code that its end stands for.</returns>
    public static async Task<int> WatchAsync(FarmClient client, string id, ServerOptions server, ParseResult result, CancellationToken stop)
    {
        StopSignals.WhatStays = $"job {id} goes on at the farm, {server.WatchCommand(result, id)} shows it again";
        var isJson = server.IsJson(result);
        Job? last = null;
        if (isJson)
        {
            await foreach (var happened in client.WatchJobAsync(id, cancellationToken: stop))
            {
                Console.WriteLine(JsonSerializer.Serialize(happened.Data, FarmJson.Default.JobEventData));
                last = happened.Data.Job;
            }
        }
        else
        {
            var view = new ProgressView();
            last = await view.WatchAsync(FollowAsync(client, id, view, stop));
        }

        last ??= await client.GetJobAsync(id, stop);
        if (!isJson)
        {
            RemoteReport.Ended(last);
        }

        return RemoteReport.ExitCodeOf(last);
    }

    private static async Task<Job?> FollowAsync(FarmClient client, string id, IProgress<JobProgress> view, CancellationToken stop)
    {
        Job? last = null;
        await foreach (var happened in client.WatchJobAsync(id, cancellationToken: stop))
        {
            last = happened.Data.Job;
            view.Report(RemoteReport.ProgressOf(last));
        }

        return last;
    }

    private static Command CreateList()
    {
        var states = new Option<string[]>("--state") { Description = "Only jobs of this state; several times for several.", HelpName = "STATE", AllowMultipleArgumentsPerToken = true };
        var limit = Values.Number("--limit", "How many, newest first (default 20).", 1, 200);
        var command = new Command("list", "List a farm's jobs, newest first.") { states, limit };
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            var jobs = await client.ListJobsAsync(result.GetValue(limit) ?? 20, states: result.GetValue(states) is { Length: > 0 } wanted ? wanted : null, cancellationToken: stop);
            if (server.IsJson(result))
            {
                Console.WriteLine(JsonSerializer.Serialize(jobs, FarmJson.Default.JobList));
            }
            else
            {
                RemoteReport.List(jobs);
            }

            return ExitCodes.Success;
        });
        return command;
    }

    private static Command CreateShow()
    {
        var id = Id();
        var command = new Command("show", "Show a job: settings, counts, failures.") { id };
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            var job = await client.GetJobAsync(result.GetValue(id)!, stop);
            if (server.IsJson(result))
            {
                Console.WriteLine(JsonSerializer.Serialize(job, FarmJson.Default.Job));
            }
            else
            {
                RemoteReport.Show(job, job.Counts.Failed > 0 ? await client.ListFailuresAsync(job.Id, 20, stop) : null);
            }

            return ExitCodes.Success;
        });
        return command;
    }

    private static Command CreateWatch()
    {
        var id = Id();
        var command = new Command("watch", "Show a job's progress until it has ended.") { id };
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            return await WatchAsync(client, result.GetValue(id)!, server, result, stop);
        });
        return command;
    }

    private static Command CreateSteer(string name, string description, Func<FarmClient, string, CancellationToken, Task<Job>> ask)
    {
        var id = Id();
        var command = new Command(name, description) { id };
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            var job = await ask(client, result.GetValue(id)!, stop);
            Console.WriteLine(server.IsJson(result) ? JsonSerializer.Serialize(job, FarmJson.Default.Job) : name == "delete" ? $"{job.Id}: deleted" : $"{job.Id}: {job.State}");
            return ExitCodes.Success;
        });
        return command;
    }

    private static Command CreateDownload()
    {
        var id = Id();
        var outFolder = new Option<string>("--out") { Description = "Folder for shards, manifest and contact sheet.", HelpName = "FOLDER", Required = true };
        var names = new Option<string[]>("--file") { Description = "Only this file; several times for several.", HelpName = "NAME", AllowMultipleArgumentsPerToken = true };
        var command = new Command("download", "Download what a job has made; the same command goes on where it was.") { id, outFolder, names };
        var server = new ServerOptions(command);
        command.SetAction(async (result, stop) =>
        {
            using var client = server.Connect(result);
            var job = result.GetValue(id)!;
            var files = (await client.ListFilesAsync(job, stop)).Data;
            var wanted = result.GetValue(names) is { Length: > 0 } some ? some : null;
            if (wanted?.FirstOrDefault(name => files.All(file => file.Name != name)) is { } missing)
            {
                throw new UsageException($"--file {missing}: job {job} has no such file (yet); it has {string.Join(", ", files.Select(file => file.Name))}");
            }

            return await DownloadAsync(client, job, [.. files.Where(file => wanted?.Contains(file.Name) != false)], result.GetValue(outFolder)!, server.IsJson(result), stop);
        });
        return command;
    }

    private static async Task<int> DownloadAsync(FarmClient client, string job, IReadOnlyList<FarmJobFile> files, string folder, bool isJson, CancellationToken stop)
    {
        if (files.Count == 0)
        {
            Console.Error.WriteLine($"farm: job {job} has no finished file yet");
            return ExitCodes.Success;
        }

        Directory.CreateDirectory(folder);
        foreach (var file in files)
        {
            var (path, wasHere) = await client.DownloadAsync(job, file, folder, cancellationToken: stop);
            if (!isJson)
            {
                Console.WriteLine($"{path}: {(wasHere ? "is here already" : Sizes.Bytes(file.Bytes))}");
            }
        }

        if (isJson)
        {
            Console.WriteLine(JsonSerializer.Serialize(new FileList("list", files), FarmJson.Default.FileList));
        }

        return ExitCodes.Success;
    }

    private static Argument<string> Id() => new("id") { Description = "The job's id, as list shows it." };
}
