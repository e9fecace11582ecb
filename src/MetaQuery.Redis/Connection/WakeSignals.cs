using System.Collections.Concurrent;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>Something that happens now and then; who waits for it takes <see cref="Next"/> before looking whether it happened already.</summary>
internal sealed class WakeSignal
{
    private TaskCompletionSource _next = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task Next => Volatile.Read(ref _next).Task;

    public void Pulse() => Interlocked.Exchange(ref _next, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    /// <summary>Waits for a pulse or a time, whichever comes first.</summary>
    public static async Task WaitAsync(Task next, TimeSpan longest, TimeProvider clock, CancellationToken cancellationToken)
    {
        using var given = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task pause = Task.Delay(longest, clock, given.Token);
        await Task.WhenAny(next, pause);
        await given.CancelAsync();
        cancellationToken.ThrowIfCancellationRequested();
    }
}

/// <summary>Signals by the channels that pulse them. A message can be lost with a connection: every waiter also looks by itself now and then.</summary>
internal sealed class WakeSignals(RedisConnection connection)
{
    private readonly ConcurrentDictionary<string, Task<WakeSignal>> _signals = new(StringComparer.Ordinal);

    /// <exception cref="WorkQueueException">Redis cannot be reached.</exception>
    public async ValueTask<WakeSignal> ListenAsync(string channel)
    {
        Task<WakeSignal> signal = _signals.GetOrAdd(channel, SubscribeAsync);
        try
        {
            return await signal;
        }
        catch
        {
            _signals.TryRemove(KeyValuePair.Create(channel, signal));
            throw;
        }
    }

    private async Task<WakeSignal> SubscribeAsync(string channel)
    {
        var signal = new WakeSignal();
        await connection.RunAsync(async _ =>
        {
            await connection.Subscriber.SubscribeAsync(RedisChannel.Literal(channel), (_, _) => signal.Pulse());
            return true;
        });
        return signal;
    }
}
