using System.Runtime.InteropServices;

namespace MetaQuery.Chaos;

/// <summary>Ctrl-C, SIGTERM, a closed terminal: the first asks for an end that leaves nothing running or mounted, a second one ends the process at once.</summary>
internal sealed class StopSignals : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly PosixSignalRegistration[] _registrations;

    public StopSignals() => _registrations =
        [.. new[] { PosixSignal.SIGINT, PosixSignal.SIGTERM, PosixSignal.SIGHUP, PosixSignal.SIGQUIT }.Select(signal => PosixSignalRegistration.Create(signal, Stop))];

    public CancellationToken Token => _source.Token;

    public void Dispose()
    {
        Array.ForEach(_registrations, registration => registration.Dispose());
        _source.Dispose();
    }

    private void Stop(PosixSignalContext context)
    {
        context.Cancel = !_source.IsCancellationRequested;
        if (context.Cancel)
        {
            Console.Error.WriteLine("chaos: stopping (once more ends at once and leaves what runs)");
            _source.Cancel();
        }
    }
}
