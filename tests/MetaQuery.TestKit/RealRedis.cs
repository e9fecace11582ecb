using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace MetaQuery.TestKit;

/// <summary>A redis-server of the test's own: on a free port of this machine, its data in a temporary folder, gone with the test.</summary>
/// <remarks>Compiled into each project of tests that uses it, for it needs nothing else of the test kit.</remarks>
public sealed partial class RealRedis : IDisposable
{
    private const int Stop = 19; // SIGSTOP and SIGCONT on Linux
    private const int Continue = 18;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-redis-").FullName;
    private readonly string[] _settings;
    private readonly string? _password;
    private Process? _process;

    private RealRedis(string[] settings, string? password, int port, bool appendOnly)
    {
        _password = password;
        Port = port == 0 ? FreePort() : port;
        _settings =
        [
            "--port", Port.ToString(CultureInfo.InvariantCulture), "--bind", "127.0.0.1", "--dir", _folder, "--save", "", "--daemonize", "no",
            "--appendonly", appendOnly ? "yes" : "no", "--loglevel", "warning", "--logfile", Path.Combine(_folder, "log"), .. settings,
            .. password is null ? Array.Empty<string>() : ["--requirepass", password],
        ];
        try
        {
            Start();
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>With the usual settings: a fixture for a class of tests that share a server, each in a namespace of its own.</summary>
    public RealRedis() : this([], password: null, port: 0, appendOnly: true) { }

    /// <param name="settings">Settings beyond the usual ones, as on redis-server's command line.</param>
    /// <param name="password">What clients must say.</param>
    /// <param name="port">Zero for a free one.</param>
    /// <param name="appendOnly">Whether every write is in a file before it is answered for, so that kill -9 loses nothing.</param>
    public static RealRedis With(string[]? settings = null, string? password = null, int port = 0, bool appendOnly = true) =>
        new(settings ?? [], password, port, appendOnly);

    public int Port { get; }

    public string Address => $"127.0.0.1:{Port}";

    public static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    /// <summary>kill -9.</summary>
    public void Kill()
    {
        _process?.Kill();
        _process?.WaitForExit();
        _process?.Dispose();
        _process = null;
    }

    /// <summary>Starts it again on its port, with the data that it had.</summary>
    public void Start()
    {
        var start = new ProcessStartInfo("redis-server", _settings) { RedirectStandardOutput = true, RedirectStandardError = true };
        try
        {
            _process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception exception)
        {
            throw new InvalidOperationException("redis-server is missing: apt-get install redis-server", exception);
        }

        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        long begin = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                if (Command("PING") is "PONG")
                {
                    return;
                }
            }
            catch (Exception exception) when (exception is SocketException or IOException or RedisReplyException)
            {
                // not listening yet, or reading its file
            }

            if (_process.HasExited || Stopwatch.GetElapsedTime(begin) > Patience)
            {
                string log = Path.Combine(_folder, "log");
                throw new InvalidOperationException($"redis-server did not start: {(File.Exists(log) ? File.ReadAllText(log) : "it left no log")}");
            }

            Thread.Sleep(10);
        }
    }

    /// <summary>What it held is gone when it starts again.</summary>
    public void LoseData()
    {
        foreach (string path in Directory.EnumerateDirectories(_folder))
        {
            Directory.Delete(path, recursive: true);
        }

        foreach (string path in Directory.EnumerateFiles(_folder, "*.rdb"))
        {
            File.Delete(path);
        }
    }

    /// <summary>Stops the process in its tracks: clients stay connected and get no answer.</summary>
    public void Pause() => Signal(Stop);

    public void Resume() => Signal(Continue);

    /// <summary>Cuts all connections of clients.</summary>
    public void CutConnections()
    {
        Command("CLIENT", "KILL", "TYPE", "normal");
        Command("CLIENT", "KILL", "TYPE", "pubsub");
    }

    /// <summary>Every key.</summary>
    public string[] Keys(string pattern = "*") => [.. ((object?[])Command("KEYS", pattern)!).Select(key => (string)key!).Order(StringComparer.Ordinal)];

    /// <summary>Bytes that the server has allocated for everything.</summary>
    public long UsedMemory()
    {
        string line = ((string)Command("INFO", "memory")!).Split('\n').First(line => line.StartsWith("used_memory:", StringComparison.Ordinal));
        return long.Parse(line.AsSpan("used_memory:".Length).Trim(), CultureInfo.InvariantCulture);
    }

    /// <summary>One command on a connection of its own.</summary>
    /// <returns>A string, a number (long), a list (object?[]) or null.</returns>
    public object? Command(params string[] words)
    {
        using var client = new TcpClient();
        client.Connect(IPAddress.Loopback, Port);
        client.ReceiveTimeout = (int)Patience.TotalMilliseconds;
        using NetworkStream stream = client.GetStream();
        if (_password is not null)
        {
            Send(stream, ["AUTH", _password]);
            Read(stream);
        }

        Send(stream, words);
        return Read(stream);
    }

    public void Dispose()
    {
        if (_process is { HasExited: false })
        {
            Resume(); // a stopped process is killed, too, but only a running one gives its port back at once
        }

        Kill();
        Directory.Delete(_folder, recursive: true);
    }

    private static void Send(Stream stream, string[] words)
    {
        var text = new StringBuilder().Append(CultureInfo.InvariantCulture, $"*{words.Length}\r\n");
        foreach (string word in words)
        {
            text.Append(CultureInfo.InvariantCulture, $"${Encoding.UTF8.GetByteCount(word)}\r\n{word}\r\n");
        }

        stream.Write(Encoding.UTF8.GetBytes(text.ToString()));
    }

    private static object? Read(Stream stream)
    {
        string line = ReadLine(stream);
        switch (line[0])
        {
            case '+':
                return line[1..];
            case '-':
                throw new RedisReplyException(line[1..]);
            case ':':
                return long.Parse(line.AsSpan(1), CultureInfo.InvariantCulture);
            case '$' when line == "$-1":
            case '*' when line == "*-1":
                return null;
            case '$':
                var bytes = new byte[int.Parse(line.AsSpan(1), CultureInfo.InvariantCulture) + 2];
                stream.ReadExactly(bytes);
                return Encoding.UTF8.GetString(bytes, 0, bytes.Length - 2);
            default:
                var list = new object?[int.Parse(line.AsSpan(1), CultureInfo.InvariantCulture)];
                for (int i = 0; i < list.Length; i++)
                {
                    list[i] = Read(stream);
                }

                return list;
        }
    }

    private static string ReadLine(Stream stream)
    {
        var line = new StringBuilder();
        while (true)
        {
            int next = stream.ReadByte();
            if (next < 0)
            {
                throw new IOException("redis-server closed the connection");
            }

            if (next == '\n')
            {
                return line.ToString(0, line.Length - 1);
            }

            line.Append((char)next);
        }
    }

    private void Signal(int signal)
    {
        if (_process is not null && Kill(_process.Id, signal) != 0)
        {
            throw new InvalidOperationException($"signal {signal} did not reach redis-server: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int Kill(int process, int signal);
}

/// <summary>Redis answered with an error.</summary>
public sealed class RedisReplyException(string message) : Exception(message);
