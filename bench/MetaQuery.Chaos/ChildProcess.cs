using System.Diagnostics;
using System.Runtime.InteropServices;

namespace MetaQuery.Chaos;

/// <summary>One process of the farm: what it says goes to a file, its death is noticed, and it can be started again as it was.</summary>
internal sealed partial class ChildProcess : IDisposable
{
    private const int StopSignal = 19; // SIGSTOP, SIGCONT and SIGTERM on Linux
    private const int ContinueSignal = 18;
    private const int TerminateSignal = 15;

    private readonly string[] _arguments;
    private readonly string _log;
    private readonly IReadOnlyDictionary<string, string> _environment;
    private Process _process;
    private StreamWriter _output = StreamWriter.Null;

    /// <param name="name">For messages.</param>
    /// <param name="arguments">Of the client's program.</param>
    /// <param name="log">File that takes what it says, appended.</param>
    /// <param name="environment">Beyond this process' own.</param>
    public ChildProcess(string name, string[] arguments, string log, IReadOnlyDictionary<string, string> environment)
    {
        Name = name;
        _arguments = arguments;
        _log = log;
        _environment = environment;
        _process = Start();
    }

    public string Name { get; }

    public int Id => _process.Id;

    /// <summary>Null while it runs.</summary>
    public int? ExitCode => _process.HasExited ? _process.ExitCode : null;

    /// <summary>Starts after the first.</summary>
    public int Restarts { get; private set; }

    /// <summary>kill -9, and a new one at once, as a supervisor would.</summary>
    public void KillAndRestart()
    {
        _process.Kill();
        Restart();
    }

    /// <summary>kill -9, and nobody starts it again.</summary>
    public void Kill()
    {
        WasAsked = true;
        _process.Kill();
        _process.WaitForExit();
    }

    public void Pause() => Signal(StopSignal);

    public void Continue() => Signal(ContinueSignal);

    /// <summary>Waits for its end.</summary>
    /// <returns>Its exit code.</returns>
    public async Task<int> WaitAsync(CancellationToken stop)
    {
        await _process.WaitForExitAsync(stop);
        return _process.ExitCode;
    }

    /// <summary>Whether it was asked to end, or killed.</summary>
    public bool WasAsked { get; private set; }

    /// <summary>Asks it to end.</summary>
    public void Ask()
    {
        WasAsked = true;
        Signal(TerminateSignal);
    }

    /// <summary>Asks it to end, and waits.</summary>
    /// <returns>Its exit code.</returns>
    /// <exception cref="ChaosException">It does not end.</exception>
    public async Task<int> StopAsync(TimeSpan patience, CancellationToken stop)
    {
        Ask();
        try
        {
            return await WaitAsync(stop).WaitAsync(patience, stop);
        }
        catch (TimeoutException)
        {
            throw new ChaosException($"{Name} does not end on SIGTERM within {patience.TotalSeconds:0} s");
        }
    }

    /// <exception cref="ChaosException">It has ended by itself.</exception>
    public void CheckAlive()
    {
        if (_process.HasExited)
        {
            throw new ChaosException($"{Name} ended by itself with code {_process.ExitCode}: {LastWords()}");
        }
    }

    /// <summary>The end of what it said.</summary>
    public string LastWords()
    {
        lock (_output)
        {
            _output.Flush();
        }

        return string.Join(" | ", File.ReadLines(_log).TakeLast(5));
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
        }

        End();
    }

    /// <summary>Starts it as it was, once it has ended.</summary>
    public void Restart()
    {
        End();
        WasAsked = false;
        Restarts++;
        _process = Start();
    }

    private void End()
    {
        _process.WaitForExit();
        _process.Dispose();
        _output.Dispose();
    }

    private Process Start()
    {
        var start = new ProcessStartInfo("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true, RedirectStandardInput = true };
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "metaquery.dll"));
        Array.ForEach(_arguments, start.ArgumentList.Add);
        foreach (var (name, value) in _environment)
        {
            start.Environment[name] = value;
        }

        var output = new StreamWriter(_log, append: true) { AutoFlush = true };
        output.WriteLine($"--- {DateTimeOffset.UtcNow:O} {Name} starts");
        var process = Process.Start(start)!;
        process.StandardInput.Close();
        process.OutputDataReceived += Write;
        process.ErrorDataReceived += Write;
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        _output = output;
        return process;

        void Write(object sender, DataReceivedEventArgs data)
        {
            if (data.Data is { } line)
            {
                lock (output)
                {
                    output.WriteLine(line);
                }
            }
        }
    }

    private void Signal(int signal)
    {
        if (SendSignal(_process.Id, signal) != 0)
        {
            throw new ChaosException($"signal {signal} did not reach {Name}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int SendSignal(int process, int signal);
}
