using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Benchmarks;

/// <summary>Our side in a process of its own; bench/peer/serve.py is the other one. The same commands, the same answers.</summary>
internal sealed class OurWorker(OurModules modules, OurFarm farm, ScalarType dtype)
{
    public const string Verb = "serve";

    /// <summary>Answers commands until the input ends.</summary>
    public void Serve()
    {
        Say(new JsonObject { ["torch"] = "ours", ["threads"] = get_num_threads() });
        while (Console.ReadLine() is { } line)
        {
            try
            {
                Say(Answer(JsonNode.Parse(line)!.AsObject()));
            }
            catch (Exception exception) // one bad command ends neither the worker nor the benchmark's other figures
            {
                Say(new JsonObject { ["error"] = $"{exception.GetType().Name}: {exception.Message}" });
            }
        }
    }

    private JsonObject Answer(JsonObject command)
    {
        switch (command["do"]!.GetValue<string>())
        {
            case "tokens":
                return modules.Tokens(Prompts(command));
            case "pictures":
                return farm.Pictures(command);
        }

        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var seconds = new JsonArray();
        var run = Prepare(command);
        for (var i = 0; i < command["repeats"]!.GetValue<int>(); i++)
        {
            using var inner = NewDisposeScope();
            var clock = Stopwatch.StartNew();
            run();
            seconds.Add(clock.Elapsed.TotalSeconds);
        }

        modules.Forget();
        return new JsonObject { ["seconds"] = seconds };
    }

    private Action Prepare(JsonObject command) => command["do"]!.GetValue<string>() switch
    {
        "gemm" => OurModules.Gemm(command["size"]!.GetValue<int>(), dtype),
        "condition" => modules.Condition(Prompts(command)),
        "step" => modules.Step(command["batch"]!.GetValue<int>()),
        "bulk" => farm.Bulk(command),
        "decode" => modules.Decode(command["batch"]!.GetValue<int>()),
        var other => throw new NotSupportedException($"unknown command {other}"),
    };

    private static List<string> Prompts(JsonObject command) => [.. command["prompts"]!.AsArray().Select(text => text!.GetValue<string>())];

    private static void Say(JsonObject answer) => Console.WriteLine(answer.ToJsonString(JsonSerializerOptions.Default));
}
