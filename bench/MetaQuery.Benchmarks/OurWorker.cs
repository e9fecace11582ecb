using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Benchmarks;

/// <summary>Our side in a process of its own; bench/peer/serve.py is the other one. The same commands, the same answers.</summary>
internal sealed class OurWorker(ScalarType dtype)
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

        return new JsonObject { ["seconds"] = seconds };
    }

    private Action Prepare(JsonObject command)
    {
        switch (command["do"]!.GetValue<string>())
        {
            case "gemm":
                var size = command["size"]!.GetValue<int>();
                var a = randn([size, size]).to(dtype);
                var b = randn([size, size]).to(dtype);
                return () => matmul(a, b);
            default:
                throw new NotSupportedException($"the command {command["do"]} is not built yet");
        }
    }

    private static void Say(JsonObject answer) => Console.WriteLine(answer.ToJsonString(JsonSerializerOptions.Default));
}
