using System.CommandLine;
using MetaQuery.Benchmarks;
#if ORLEANS
using MetaQuery.Benchmarks.Cluster;
#endif
using MetaQuery.Benchmarks.Farm;
using MetaQuery.Benchmarks.Scale;
using MetaQuery.Kernels;
using MetaQuery.Silo;
using TorchSharp;

var json = new Option<bool>("--json") { Description = "One JSON object instead of a table." };
var dtype = new Option<string>("--dtype") { Description = "What our side computes in: float32, bfloat16, or auto (bfloat16 where the processor has AVX512-BF16 or AMX).", DefaultValueFactory = _ => "auto" };
dtype.AcceptOnlyFromAmong("auto", "float32", "bfloat16");
var rounds = new Option<int>("--rounds") { Description = "How often the two sides take turns.", DefaultValueFactory = _ => 5 };
var prompts = new Option<int>("--prompts") { Description = "Prompts of a bulk run, 4 images each.", DefaultValueFactory = _ => 8 };
var parts = new Option<string[]>("--only") { Description = "The parts to measure.", AllowMultipleArgumentsPerToken = true };
parts.AcceptOnlyFromAmong([.. BenchmarkOptions.AllParts]);
var python = new Option<string>("--peer-python") { Description = "The interpreter that has the peer's torch.", DefaultValueFactory = _ => "/usr/bin/python3" };
var model = new Option<string>("--model") { Description = "The model's folder.", DefaultValueFactory = _ => Repository.PathOf("models", "nano") };

var serve = new Command(OurWorker.Verb, "Our side as a worker: what the benchmark itself starts.") { Hidden = true };
var slots = new Option<int>("--slots") { DefaultValueFactory = _ => 1 };
var threads = new Option<int>("--threads") { DefaultValueFactory = _ => 1 };
serve.Options.Add(model);
serve.Options.Add(dtype);
serve.Options.Add(slots);
serve.Options.Add(threads);
serve.SetAction(parsed =>
{
    torch.set_num_threads(parsed.GetValue(threads));
    var type = parsed.GetValue(dtype) == "bfloat16" ? torch.ScalarType.BFloat16 : torch.ScalarType.Float32;
    using var modules = new OurModules(parsed.GetValue(model)!, type);
    using var farm = new OurFarm(parsed.GetValue(model)!, parsed.GetValue(dtype)!, parsed.GetValue(slots), parsed.GetValue(threads));
    new OurWorker(modules, farm, type).Serve();
});

var scaleThreads = new Option<int>("--threads") { Description = "Threads of the part \"scale\".", DefaultValueFactory = _ => Environment.ProcessorCount };
var promptTokens = new Option<int>("--prompt-tokens") { Description = "Tokens before the queries, in the part \"scale\".", DefaultValueFactory = _ => 300 };
var modules = new Option<string[]>("--modules") { Description = "Modules of the part \"scale\": prefill connector context step decode.", AllowMultipleArgumentsPerToken = true };
var scale = new Command(ScaleWorker.Verb, "A model of any size as a worker: what the part \"scale\" starts.") { Hidden = true };
scale.Options.Add(model);
scale.Options.Add(dtype);
scale.Options.Add(threads);
scale.Options.Add(promptTokens);
scale.SetAction(parsed =>
{
    TorchRuntime.SetThreads(parsed.GetValue(threads));
    var type = parsed.GetValue(dtype) == "bfloat16" ? torch.ScalarType.BFloat16 : torch.ScalarType.Float32;
    using var worker = new ScaleWorker(parsed.GetValue(model)!, type, parsed.GetValue(threads), parsed.GetValue(promptTokens));
    worker.Serve();
});

var root = new RootCommand("Measures MetaQuery.Farm beside a plain PyTorch peer, in turns, with the same settings on both sides.");
foreach (var option in (Option[])[json, dtype, rounds, prompts, parts, python, model, scaleThreads, promptTokens, modules])
{
    root.Options.Add(option);
}

root.Subcommands.Add(serve);
root.Subcommands.Add(scale);
var farm = new Command("farm", "The farm itself: queues, feeding, start of large jobs.");
var farmParts = new Option<string[]>("--only") { Description = "The parts to measure.", AllowMultipleArgumentsPerToken = true };
farm.Options.Add(json);
farm.Options.Add(farmParts);
farm.SetAction(parsed => Print(() => FarmSuite.RunAsync(parsed.GetValue(farmParts) ?? []).GetAwaiter().GetResult(), parsed.GetValue(json)));
root.Subcommands.Add(farm);
#if ORLEANS
var orleans = new Command("orleans", "A cluster of three silos on this machine: calls, fail-over, draining, a job through thirty kills.");
var orleansParts = new Option<string[]>("--only") { Description = "The parts to measure: calls, failover, drain, kills.", AllowMultipleArgumentsPerToken = true };
orleans.Options.Add(json);
orleans.Options.Add(orleansParts);
orleans.SetAction(parsed => Print(() => OrleansSuite.RunAsync(parsed.GetValue(orleansParts) ?? []).GetAwaiter().GetResult(), parsed.GetValue(json)));
root.Subcommands.Add(orleans);
#endif
root.SetAction(parsed =>
{
    var chosen = parsed.GetValue(dtype)!;
    var options = new BenchmarkOptions(
        parsed.GetValue(model)!,
        chosen == "auto" ? LocalModel.DefaultDtype() : chosen,
        parsed.GetValue(rounds),
        parsed.GetValue(prompts),
        parsed.GetValue(parts) is { Length: > 0 } named ? named : IsShipped(parsed.GetValue(model)!) ? [] : BenchmarkOptions.OtherModelParts,
        parsed.GetValue(python)!)
    {
        Threads = parsed.GetValue(scaleThreads),
        PromptTokens = parsed.GetValue(promptTokens),
        Modules = parsed.GetValue(modules) ?? [],
    };
    return Print(() => Benchmark.Run(options), parsed.GetValue(json));
});
return root.Parse(args).Invoke();

static bool IsShipped(string folder) => Path.GetFullPath(folder) == Path.GetFullPath(Repository.PathOf("models", "nano"));

static int Print(Func<BenchmarkReport> measure, bool asJson)
{
    try
    {
        var report = measure();
        Console.WriteLine(asJson ? report.ToJson() : report.ToString());
        return 0;
    }
    catch (Exception exception) when (exception is BenchmarkException or MetaQuery.Chaos.ChaosException)
    {
        Console.Error.WriteLine($"bench: {exception.Message}");
        return 1;
    }
}
