using System.Diagnostics;

namespace MetaQuery.Orleans;

/// <summary>This process as a silo: since when, how loaded, and whether it was asked to leave. Thread-safe.</summary>
public sealed class SiloLife(TimeProvider clock) : IDisposable
{
    private readonly CancellationTokenSource _leave = new();
    private readonly Lock _gate = new();
    private long _lookedAt = clock.GetTimestamp();
    private TimeSpan _usedThen = Process.GetCurrentProcess().TotalProcessorTime;
    private double _cpu;
    private bool _isLeaving;

    private readonly TaskCompletionSource<Exception> _dead = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes where the silo is in the cluster no more, without having left it.</summary>
    public Task<Exception> Dead => _dead.Task;

    /// <summary>What to do then, at once and before anything else: the command ends its process.</summary>
    public Action<Exception>? OnDeath { get; set; }

    public DateTimeOffset StartedAt { get; } = clock.GetUtcNow();

    /// <summary>Fires once the silo is asked to leave.</summary>
    public CancellationToken Leaving => _leave.Token;

    public bool IsLeaving => Volatile.Read(ref _isLeaving);

    /// <summary>Share of the machine's processors since the last look, at most one a second, and the process' memory in bytes.</summary>
    public (double CpuShare, long MemoryBytes) Load
    {
        get
        {
            lock (_gate)
            {
                TimeSpan since = clock.GetElapsedTime(_lookedAt);
                if (since >= TimeSpan.FromSeconds(1))
                {
                    using var process = Process.GetCurrentProcess();
                    TimeSpan used = process.TotalProcessorTime;
                    _cpu = Math.Clamp((used - _usedThen) / since / Environment.ProcessorCount, 0, 1);
                    (_lookedAt, _usedThen) = (clock.GetTimestamp(), used);
                }

                return (_cpu, Environment.WorkingSet);
            }
        }
    }

    /// <summary>Begins to leave; returns at once.</summary>
    public void Leave()
    {
        Volatile.Write(ref _isLeaving, true);
        _ = Task.Run(_leave.Cancel); // what it sets off runs in no grain's turn
    }

    /// <summary>The others have declared this silo dead, or it can do nothing more.</summary>
    public void Die(string reason)
    {
        var death = new ClusterException(reason, isTransient: true);
        OnDeath?.Invoke(death);
        _dead.TrySetResult(death);
    }

    public void Dispose() => _leave.Dispose();
}
