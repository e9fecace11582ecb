using System.Text.Json;
using System.Text.Json.Serialization;

namespace MetaQuery.Chaos;

/// <summary>What a fault did.</summary>
/// <param name="At">When it came.</param>
/// <param name="Run">Which run of the series, from 1.</param>
/// <param name="Seed">Of the run.</param>
/// <param name="Fault">Its number in the run.</param>
/// <param name="InFlight">Items leased by workers at that moment; of the worker that is hit, where one is.</param>
/// <param name="Written">Images committed before it.</param>
/// <param name="LastedSeconds">Until what was killed was started again, or what was held was let go.</param>
/// <param name="RecoveredSeconds">From then on, until the next image was committed.</param>
internal sealed record LoggedFault(
    DateTimeOffset At, int Run, int Seed, int Fault, string Kind, string Target, bool IsSilent, long InFlight, long Written, double LastedSeconds, double RecoveredSeconds);

/// <summary>Faults as they were: a line of JSON each, in a file and for who watches.</summary>
internal sealed class ChaosLog(string? path, TextWriter watcher)
{
    private static readonly JsonSerializerOptions Json = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, NumberHandling = JsonNumberHandling.Strict };

    private readonly List<LoggedFault> _faults = [];

    public IReadOnlyList<LoggedFault> Faults => _faults;

    public void Add(LoggedFault fault)
    {
        _faults.Add(fault);
        if (path is not null)
        {
            File.AppendAllText(path, JsonSerializer.Serialize(fault, Json) + "\n");
        }

        Say($"run {fault.Run}, fault {fault.Fault}: {fault.Kind} {fault.Target}{(fault.IsSilent ? ", silent" : "")}; {fault.InFlight} in flight, {fault.Written} written; over after {fault.LastedSeconds:0.0} s, next image after {fault.RecoveredSeconds:0.0} s");
    }

    public void Say(string line) => watcher.WriteLine($"chaos: {line}");
}
