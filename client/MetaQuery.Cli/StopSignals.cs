using System.Runtime.InteropServices;

namespace MetaQuery.Cli;

/// <summary>Ctrl-C and SIGTERM: the first asks for a clean end, a second one ends the process at once.</summary>
internal sealed class StopSignals : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly PosixSignalRegistration[] registrations;

    /// <summary>What stays when this command ends, for whoever stops it: a command that knows better than this says so.</summary>
    public static string WhatStays { get; set; } = "what is committed stays";

    public StopSignals() => registrations =
        [PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop), PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop)];

    public CancellationToken Token => source.Token;

    public void Dispose()
    {
        foreach (var registration in registrations)
        {
            registration.Dispose();
        }

        source.Dispose();
    }

    private void Stop(PosixSignalContext context)
    {
        context.Cancel = !source.IsCancellationRequested;
        if (context.Cancel)
        {
            Console.Error.WriteLine($"farm: stopping; {WhatStays} (once more ends at once)");
            source.Cancel();
        }
    }
}
