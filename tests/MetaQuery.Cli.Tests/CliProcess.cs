using System.Diagnostics;
using System.Runtime.InteropServices;

namespace MetaQuery.Cli.Tests;

/// <summary>The real program in a process of its own.</summary>
internal sealed partial class CliProcess : IDisposable
{
    private const int Interrupt = 2; // SIGINT
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);
    private readonly Process process;
    private readonly Task<string> output;
    private readonly Task<string> error;

    private CliProcess(IEnumerable<string> arguments, string? input, IReadOnlyDictionary<string, string>? environment)
    {
        var start = new ProcessStartInfo("env") { RedirectStandardError = true, RedirectStandardOutput = true, RedirectStandardInput = true, UseShellExecute = false };
        start.ArgumentList.Add("--default-signal=INT"); // whoever runs the tests in the background has it ignored, which children inherit
        start.ArgumentList.Add("dotnet");
        start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "metaquery.dll"));
        foreach (var argument in arguments)
        {
            start.ArgumentList.Add(argument);
        }

        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        process = Process.Start(start)!;
        output = process.StandardOutput.ReadToEndAsync();
        error = process.StandardError.ReadToEndAsync();
        process.StandardInput.Write(input ?? "");
        process.StandardInput.Close();
    }

    public bool HasExited => process.HasExited;

    public static CliProcess Start(params string[] arguments) => new(arguments, null, null);

    public static CliProcess Start(IEnumerable<string> arguments, IReadOnlyDictionary<string, string> environment) => new(arguments, null, environment);

    public static CliResult Run(params string[] arguments) => Run(arguments, input: null);

    public static CliResult Run(IEnumerable<string> arguments, string? input = null, IReadOnlyDictionary<string, string>? environment = null)
    {
        using var cli = new CliProcess(arguments, input, environment);
        return cli.Wait();
    }

    public CliResult Wait()
    {
        if (!process.WaitForExit(Patience))
        {
            process.Kill(entireProcessTree: true);
            throw new TimeoutException($"the program was still running after {Patience}; it wrote: {error.Result}");
        }

        return new CliResult(process.ExitCode, output.Result, error.Result);
    }

    /// <summary>kill -9: no handler runs.</summary>
    public void Kill() => process.Kill();

    /// <summary>What Ctrl-C does.</summary>
    public void CtrlC() => Assert.Equal(0, SendSignal(process.Id, Interrupt));

    public void Dispose()
    {
        if (!process.HasExited)
        {
            process.Kill(entireProcessTree: true);
        }

        process.Dispose();
    }

    [LibraryImport("libc", EntryPoint = "kill", SetLastError = true)]
    private static partial int SendSignal(int processId, int signal);
}

/// <summary>How the program ended.</summary>
internal sealed record CliResult(int ExitCode, string Output, string Error)
{
    public string[] ErrorLines => Error.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The one line of an error, with this exit code; progress may stand before it.</summary>
    public string OneLineError(int exitCode)
    {
        Assert.True(ExitCode == exitCode, $"exit code {ExitCode}, expected {exitCode}; stderr: {Error}");
        Assert.All(ErrorLines[..^1], line => Assert.Matches(@"^(\d+/\d+ images|reading the prompts)", line));
        Assert.StartsWith("farm: ", ErrorLines[^1], StringComparison.Ordinal);
        return ErrorLines[^1];
    }

    public CliResult Succeeded()
    {
        Assert.True(ExitCode == 0, $"exit code {ExitCode}; stderr: {Error}");
        return this;
    }
}
