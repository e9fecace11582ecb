using System.Net;
using System.Net.Sockets;
using System.Text;

namespace MetaQuery.Redis.Tests;

/// <summary>A way to a server on which answers get lost: now and then one is swallowed and its connection cut, after the server has done what it was asked.</summary>
internal sealed class LossyProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly int _serverPort;
    private readonly int _oneIn;
    private readonly Random _random;
    private readonly CancellationTokenSource _end = new();
    private readonly Task _accepting;
    private int _lost;
    private volatile bool _loseNext;

    /// <param name="serverPort">On this machine.</param>
    /// <param name="oneIn">Of so many answers one gets lost.</param>
    /// <param name="seed">Decides which.</param>
    public LossyProxy(int serverPort, int oneIn, int seed)
    {
        (_serverPort, _oneIn, _random) = (serverPort, oneIn, new Random(seed));
        _listener.Start();
        _accepting = Task.Run(AcceptAsync);
    }

    public string Address => $"127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}";

    /// <summary>Whether answers get lost at present.</summary>
    public bool IsLossy { get; set; }

    /// <summary>The answer to the next request that holds this text gets lost.</summary>
    public string? LoseAnswerTo { get; set; }

    public int Lost => Volatile.Read(ref _lost);

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        _listener.Stop();
        await _accepting;
        _end.Dispose();
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = ServeAsync(await _listener.AcceptTcpClientAsync(_end.Token));
            }
        }
        catch (Exception exception) when (exception is OperationCanceledException or SocketException)
        {
            // ended
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using (client)
        using (var server = new TcpClient())
        {
            try
            {
                await server.ConnectAsync(IPAddress.Loopback, _serverPort, _end.Token);
                await Task.WhenAny(PumpAsync(client, server, mayLose: false), PumpAsync(server, client, mayLose: true));
            }
            catch (Exception exception) when (exception is OperationCanceledException or SocketException or IOException)
            {
                // the connection ends with either side
            }
        }
    }

    private async Task PumpAsync(TcpClient from, TcpClient to, bool mayLose)
    {
        try
        {
            var buffer = new byte[1 << 16];
            while (await from.GetStream().ReadAsync(buffer, _end.Token) is > 0 and var count)
            {
                if (!mayLose && LoseAnswerTo is { } text && buffer.AsSpan(0, count).IndexOf(Encoding.UTF8.GetBytes(text)) >= 0)
                {
                    LoseAnswerTo = null;
                    _loseNext = true;
                }

                if (mayLose && (_loseNext || (IsLossy && IsUnlucky())))
                {
                    _loseNext = false;
                    Interlocked.Increment(ref _lost);
                    return;
                }

                await to.GetStream().WriteAsync(buffer.AsMemory(0, count), _end.Token);
            }
        }
        catch (Exception exception) when (exception is OperationCanceledException or SocketException or IOException or ObjectDisposedException or InvalidOperationException)
        {
            // the connection ends with either side
        }
    }

    private bool IsUnlucky()
    {
        lock (_random)
        {
            return _random.Next(_oneIn) == 0;
        }
    }
}
