using System.Diagnostics;
using System.Text.Json.Nodes;

namespace MetaQuery.Benchmarks;

/// <summary>
/// A side of the benchmark in a process of its own: one JSON command a line in, one JSON answer a line out. Both sides speak the same
/// commands, each with settings that must stand before its libraries are loaded.
/// </summary>
internal sealed class WorkerProcess : IDisposable
{
    private readonly Process _process;
    private readonly string _name;
    private readonly Queue<string> _lastErrors = new();

    private WorkerProcess(string name, string program, IEnumerable<string> arguments, int threads)
    {
        _name = name;
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (variable, value) in Machine.Settings(threads))
        {
            start.Environment[variable] = value;
        }

        start.Environment.Remove("OPENBLAS_L2_SIZE"); // a hint that suits one set of kernels only
        start.Environment["PYTHONDONTWRITEBYTECODE"] = "1"; // the peer's folder is part of the checkout
        _process = Process.Start(start) ?? throw new BenchmarkException($"{name}: {program} did not start");
        _process.ErrorDataReceived += (_, line) => Remember(line.Data);
        _process.BeginErrorReadLine();
        Ready = Answer();
    }

    /// <summary>What the worker says of itself once it is ready.</summary>
    public JsonObject Ready { get; }

    public static WorkerProcess Peer(BenchmarkOptions options, string dtype, int threads) => new(
        $"the peer ({dtype})",
        options.PeerPython,
        [Repository.PathOf("bench", "peer", "serve.py"), "--model", options.Model, "--dtype", dtype, "--threads", $"{threads}"],
        threads);

    public static WorkerProcess Ours(BenchmarkOptions options, string dtype, int slots, int threads) => new(
        $"our worker ({dtype}, {slots} x {threads})",
        Environment.ProcessPath!,
        [
            .. Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet" ? [typeof(WorkerProcess).Assembly.Location] : Array.Empty<string>(),
            OurWorker.Verb, "--model", options.Model, "--dtype", dtype, "--slots", $"{slots}", "--threads", $"{threads}",
        ],
        threads);

    /// <summary>Our side with a model of any size, for <see cref="Scale.ScaleSuite"/>.</summary>
    public static WorkerProcess Scale(BenchmarkOptions options, int threads) => new(
        $"our worker ({options.Dtype}, {threads} threads)",
        Environment.ProcessPath!,
        [
            .. Path.GetFileNameWithoutExtension(Environment.ProcessPath!) == "dotnet" ? [typeof(WorkerProcess).Assembly.Location] : Array.Empty<string>(),
            Benchmarks.Scale.ScaleWorker.Verb, "--model", options.Model, "--dtype", options.Dtype, "--threads", $"{threads}", "--prompt-tokens", $"{options.PromptTokens}",
        ],
        threads);

    /// <summary>Sends a command without waiting, so that several workers can be set to work at the same time.</summary>
    public void Send(JsonObject command)
    {
        _process.StandardInput.WriteLine(command.ToJsonString());
        _process.StandardInput.Flush();
    }

    /// <summary>The answer to the oldest command that has none yet.</summary>
    /// <exception cref="BenchmarkException">The command failed there, or the process ended.</exception>
    public JsonObject Answer()
    {
        while (_process.StandardOutput.ReadLine() is { } line)
        {
            if (!line.StartsWith('{'))
            {
                continue; // a library's own words
            }

            var answer = JsonNode.Parse(line)!.AsObject();
            return answer["error"] is { } error ? throw new BenchmarkException($"{_name}: {error}") : answer;
        }

        _process.WaitForExit();
        lock (_lastErrors)
        {
            throw new BenchmarkException($"{_name} ended with code {_process.ExitCode}: {string.Join(" | ", _lastErrors)}");
        }
    }

    public JsonObject Do(JsonObject command)
    {
        Send(command);
        return Answer();
    }

    /// <summary>The shortest of a few repeats, in seconds.</summary>
    public double Seconds(JsonObject command) => Least(Do(command));

    public static double Least(JsonObject answer) => answer["seconds"]!.AsArray().Min(value => value!.GetValue<double>());

    public void Dispose()
    {
        _process.StandardInput.Close();
        if (!_process.WaitForExit(TimeSpan.FromSeconds(10)))
        {
            _process.Kill(entireProcessTree: true);
        }

        _process.Dispose();
    }

    private void Remember(string? line)
    {
        if (string.IsNullOrWhiteSpace(line))
        {
            return;
        }

        lock (_lastErrors)
        {
            _lastErrors.Enqueue(line.Trim());
            if (_lastErrors.Count > 3)
            {
                _lastErrors.Dequeue();
            }
        }
    }
}

/// <summary>A measurement that could not be made.</summary>
internal sealed class BenchmarkException(string message) : Exception(message);
