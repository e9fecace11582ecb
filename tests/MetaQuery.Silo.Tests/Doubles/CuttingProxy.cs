using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>A relay between client and server whose connections can be cut in the middle of anything.</summary>
internal sealed class CuttingProxy : IDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentBag<TcpClient> _open = [];
    private readonly CancellationTokenSource _stop = new();
    private readonly Uri _target;

    public CuttingProxy(Uri target)
    {
        _target = target;
        _listener.Start();
        _ = AcceptAsync();
    }

    public Uri Url => new($"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}");

    /// <summary>Connections that were cut.</summary>
    public int Cuts { get; private set; }

    /// <summary>Resets every connection; new ones are taken.</summary>
    public void Cut()
    {
        while (_open.TryTake(out TcpClient? client))
        {
            client.LingerState = new LingerOption(true, 0);
            client.Dispose();
            Cuts++;
        }
    }

    public void Dispose()
    {
        _stop.Cancel();
        _listener.Stop();
        Cut();
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                TcpClient near = await _listener.AcceptTcpClientAsync(_stop.Token);
                var far = new TcpClient();
                await far.ConnectAsync(_target.Host, _target.Port, _stop.Token);
                _open.Add(near);
                _open.Add(far);
                _ = RelayAsync(near.GetStream(), far.GetStream());
                _ = RelayAsync(far.GetStream(), near.GetStream());
            }
            catch (Exception exception) when (exception is OperationCanceledException or SocketException or ObjectDisposedException)
            {
                return;
            }
        }
    }

    private static async Task RelayAsync(NetworkStream from, NetworkStream to)
    {
        try
        {
            await from.CopyToAsync(to);
        }
        catch (Exception exception) when (exception is IOException or ObjectDisposedException)
        {
            // cut
        }
    }
}
