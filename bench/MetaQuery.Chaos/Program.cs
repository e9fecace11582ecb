using System.CommandLine;
using MetaQuery.Chaos;

var faults = new Option<int>("--faults") { Description = "Faults in all, at least 14.", DefaultValueFactory = _ => 200 };
var seed = new Option<int>("--seed") { Description = "Of the first run; the same seed gives the same faults.", DefaultValueFactory = _ => 1 };
var model = new Option<string>("--model") { Description = "A folder under models/, or a path.", DefaultValueFactory = _ => "nano" };
var prompts = new Option<int>("--prompts") { Description = "Of each of the two jobs that are run again and again.", DefaultValueFactory = _ => 12 };
var steps = new Option<int>("--steps") { Description = "Denoising steps: how long a batch is in flight. Fewer on a slow machine.", DefaultValueFactory = _ => 20 };
var folder = new Option<string>("--out") { Description = "Folder for log and outputs; a run that came out right leaves only its log.", DefaultValueFactory = _ => Path.Combine("out", "chaos") };
var silos = new Option<int>("--silos") { Description = "A cluster of so many silos, 2 to 9, in place of a head with two workers.", DefaultValueFactory = _ => 0 };
var root = new RootCommand("Runs a farm over Redis under faults: processes killed and paused, disks full and slow, connections cut; then compares every byte with a run without faults.")
{
    faults, seed, model, prompts, steps, folder, silos,
};
using var stop = new StopSignals();
root.SetAction(async (parsed, _) =>
{
    var options = new ChaosOptions
    {
        Faults = parsed.GetValue(faults),
        Seed = parsed.GetValue(seed),
        Model = parsed.GetValue(model)!,
        Prompts = parsed.GetValue(prompts),
        Steps = parsed.GetValue(steps),
        Silos = parsed.GetValue(silos),
    };
    if (options.Silos is not (0 or (>= 2 and <= 9)))
    {
        Console.Error.WriteLine($"chaos: --silos {options.Silos}: must be from 2 to 9");
        return 2;
    }

    var place = Path.GetFullPath(parsed.GetValue(folder)!);
    if (Directory.Exists(place) && Directory.EnumerateFileSystemEntries(place).Any())
    {
        Console.Error.WriteLine($"chaos: {place} is not empty; name another folder with --out");
        return 2;
    }

    try
    {
        Directory.CreateDirectory(place);
        var outcome = await ChaosSeries.ExecuteAsync(options.Faults, options, place, new ChaosLog(Path.Combine(place, "faults.jsonl"), Console.Out), stop.Token);
        Console.WriteLine(ChaosTable.Of(outcome));
        return outcome.Wrong.Count == 0 ? 0 : 1;
    }
    catch (Exception) when (stop.Token.IsCancellationRequested) // whatever it looks like from inside: Ctrl-C reaches the farm's processes too
    {
        Console.Error.WriteLine($"chaos: stopped; its processes have ended, its disk is gone, and what was logged stays in {place}");
        return 130;
    }
    catch (Exception exception) when (exception is ChaosException or ArgumentOutOfRangeException)
    {
        Console.Error.WriteLine($"chaos: {exception.Message}");
        return 1;
    }
});
return await root.Parse(args).InvokeAsync(new InvocationConfiguration { ProcessTerminationTimeout = null });
