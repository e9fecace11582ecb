using System.Text.Json.Nodes;

namespace MetaQuery.Benchmarks;

/// <summary>Each module on one thread, beside the peer's same module on one thread and the machine's GEMM peak.</summary>
internal sealed class ModuleSuite(BenchmarkOptions options, BenchmarkReport report, WorkerProcess ours, WorkerProcess peer)
{
    private const int Repeats = 3;

    private double _peak;

    /// <summary>GFLOP/s of a plain matrix product on one core: what the other figures are a share of.</summary>
    public void Gemm()
    {
        foreach (var size in (int[])[1024, 2048])
        {
            var work = 2e-9 * size * size * size;
            var command = Command("gemm", ("size", size), ("dtype", options.Dtype));
            var pair = Paired.Measure(options.Rounds, () => ours.Seconds(command), () => peer.Seconds(command));
            _peak = Math.Max(_peak, Math.Max(work / pair.OursSeconds, work / pair.PeerSeconds));
            report.Add($"gemm{size}", $"GEMM {size} x {size}, {options.Dtype}, 1 thread", "GFLOP/s", work / pair.OursSeconds, work / pair.PeerSeconds, pair.Ratio);
        }
    }

    public void Condition()
    {
        var tokens = Tokens.Of(ours, SamplePrompts.Take(8));
        foreach (var batch in (int[])[1, 8])
        {
            var prompts = SamplePrompts.Take(batch);
            // The work that is needed: the tokens behind the shared system prompt, and the queries.
            var gflop = tokens.Prompts.Take(batch).Sum(ids => Gflop(Command("condition", ("prompts", Tokens.Json([ids[tokens.SharedPrefix..]])))));
            Module($"conditionBatch{batch}", $"condition, batch {batch}", "ms per prompt", batch, gflop,
                Command("condition", ("prompts", new JsonArray([.. prompts.Select(text => JsonValue.Create(text))]))),
                Command("condition", ("prompts", Tokens.Json(tokens.Prompts.Take(batch)))));
        }
    }

    /// <summary>The peer has its cross-attention keys and values computed beforehand, as we have.</summary>
    public void Step()
    {
        foreach (var batch in (int[])[1, 8, 32])
        {
            var command = Command("step", ("batch", batch));
            Module($"stepBatch{batch}", $"denoise step with guidance, batch {batch}", "ms", 1, Gflop(command), command, command);
        }
    }

    public void Decode()
    {
        foreach (var batch in (int[])[1, 8])
        {
            var command = Command("decode", ("batch", batch));
            Module($"decodeBatch{batch}", $"decode, batch {batch}", "ms per image", batch, Gflop(command), command, command);
        }
    }

    public static JsonObject Command(string name, params ReadOnlySpan<(string Name, JsonNode? Value)> arguments)
    {
        var command = new JsonObject { ["do"] = name, ["repeats"] = Repeats };
        foreach (var (key, value) in arguments)
        {
            command[key] = value;
        }

        return command;
    }

    private double Gflop(JsonObject command)
    {
        var counting = command.DeepClone().AsObject();
        counting["count"] = true;
        counting["repeats"] = 0;
        return peer.Do(counting)["gflop"]!.GetValue<double>();
    }

    private void Module(string key, string what, string unit, int items, double gflop, JsonObject oursCommand, JsonObject peerCommand)
    {
        var warm = oursCommand.DeepClone().AsObject();
        warm["repeats"] = 1;
        ours.Do(warm);
        var pair = Paired.Measure(options.Rounds, () => ours.Seconds(oursCommand), () => peer.Seconds(peerCommand));
        report.Add(key, what, unit, pair.OursSeconds / items * 1e3, pair.PeerSeconds / items * 1e3, pair.Ratio,
            _peak > 0 ? gflop / pair.OursSeconds / _peak : null);
    }
}

/// <summary>Prompts as the peer takes them: token ids, up to and with <c>&lt;begin_of_img&gt;</c>.</summary>
/// <param name="SharedPrefix">How many ids all prompts begin with alike: the system prompt.</param>
internal sealed record Tokens(IReadOnlyList<int[]> Prompts, int[] Empty, int SharedPrefix)
{
    public static Tokens Of(WorkerProcess ours, IReadOnlyList<string> prompts)
    {
        var answer = ours.Do(ModuleSuite.Command("tokens", ("prompts", new JsonArray([.. prompts.Select(text => JsonValue.Create(text))]))));
        return new Tokens(
            [.. answer["ids"]!.AsArray().Select(row => Ids(row!))], Ids(answer["empty"]!), answer["sharedPrefix"]!.GetValue<int>());
    }

    public static JsonArray Json(IEnumerable<int[]> prompts) => new([.. prompts.Select(ids => Json(ids))]);

    public static JsonArray Json(int[] ids) => new([.. ids.Select(id => JsonValue.Create(id))]);

    private static int[] Ids(JsonNode row) => [.. row.AsArray().Select(id => id!.GetValue<int>())];
}
