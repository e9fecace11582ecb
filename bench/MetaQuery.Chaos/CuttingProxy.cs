using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace MetaQuery.Chaos;

/// <summary>Stands between one process and Redis, so that its connections can be cut, or be open and carry nothing.</summary>
internal sealed class CuttingProxy : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly int _port;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentDictionary<TcpClient, bool> _open = new();
    private volatile TaskCompletionSource _flows = Flowing();

    /// <param name="port">Where Redis listens.</param>
    public CuttingProxy(int port)
    {
        _port = port;
        _listener.Start();
        _ = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Connections in both directions that are open now.</summary>
    public int Connections => _open.Count / 2;

    /// <summary>Ends all connections; new ones are taken.</summary>
    public void Cut()
    {
        foreach (var client in _open.Keys)
        {
            client.Close();
        }
    }

    /// <summary>From now on connections stay open and carry nothing.</summary>
    public void BeSilent() => _flows = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>What was held back flows again.</summary>
    public void Speak() => _flows.TrySetResult();

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Stop();
        Speak();
        Cut();
        _stop.Dispose();
    }

    private static TaskCompletionSource Flowing()
    {
        var source = new TaskCompletionSource();
        source.SetResult();
        return source;
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = ServeAsync(await _listener.AcceptTcpClientAsync(_stop.Token));
            }
        }
        catch (Exception exception) when (exception is OperationCanceledException or SocketException or ObjectDisposedException)
        {
            // the proxy is being disposed of
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using var server = new TcpClient { NoDelay = true };
        client.NoDelay = true;
        _open.TryAdd(client, true);
        _open.TryAdd(server, true);
        try
        {
            await server.ConnectAsync(IPAddress.Loopback, _port, _stop.Token);
            await Task.WhenAny(PumpAsync(client, server), PumpAsync(server, client));
        }
        catch (Exception exception) when (exception is OperationCanceledException or SocketException or IOException or ObjectDisposedException)
        {
            // Redis is not there, or the connection was cut: the client finds its own closed
        }
        finally
        {
            _open.TryRemove(client, out _);
            _open.TryRemove(server, out _);
            client.Dispose();
        }
    }

    private async Task PumpAsync(TcpClient from, TcpClient to)
    {
        try
        {
            var buffer = new byte[1 << 16];
            var (source, sink) = (from.GetStream(), to.GetStream());
            while (await source.ReadAsync(buffer, _stop.Token) is > 0 and var count)
            {
                await _flows.Task;
                await sink.WriteAsync(buffer.AsMemory(0, count), _stop.Token);
            }
        }
        catch (Exception exception) when (exception is OperationCanceledException or SocketException or IOException or ObjectDisposedException or InvalidOperationException)
        {
            // one side is gone: the caller closes the other
        }
    }
}
