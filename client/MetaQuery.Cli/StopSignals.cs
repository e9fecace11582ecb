using System.Runtime.InteropServices;

namespace MetaQuery.Cli;

/// <summary>Ctrl-C and SIGTERM: the first asks for a clean end, a second one ends the process at once.</summary>
internal sealed class StopSignals : IDisposable
{
    private readonly CancellationTokenSource source = new();
    private readonly PosixSignalRegistration[] registrations;

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
            Console.Error.WriteLine("farm: stopping; what is committed stays (once more ends at once)");
            source.Cancel();
        }
    }
}
