using System.CommandLine;
using MetaQuery.Client;
using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Pipelines;
using MetaQuery.Tokenizers;

namespace MetaQuery.Cli;

/// <summary>A command line that cannot be carried out: one line, what and where and what would be right.</summary>
internal sealed class UsageException(string message) : Exception(message)
{
    public bool IsTransient => false;
}

/// <summary>Failures become one line on stderr and an exit code (docs/cli.md has the table).</summary>
internal static class Failure
{
    private const string TraceVariable = "METAQUERY_TRACE";

    public static Exception Of(ParseResult result)
    {
        var command = result.CommandResult.Command;
        var error = result.Errors[0].Message;
        if (result.UnmatchedTokens.FirstOrDefault(token => token.Length > 1 && token[0] == '-') is { } option)
        {
            error = $"there is no option {option}";
        }
        else if (command.Arguments.FirstOrDefault(argument => argument.Arity.MinimumNumberOfValues > 0 && result.GetResult(argument) is null or { Tokens.Count: 0 }) is { } missing)
        {
            error = $"{Path(result).TrimEnd()}: {missing.Name.ToUpperInvariant()} is missing";
        }
        else if (command.Subcommands.Count > 0)
        {
            var known = string.Join(", ", command.Subcommands.Select(c => c.Name));
            error = result.UnmatchedTokens.Count > 0 ? $"'{result.UnmatchedTokens[0]}' is no command; there are {known}"
                : command.Action is not null ? error // runs by itself: what is wrong is one of its options
                : $"{command.Name} needs one of: {known}";
        }

        return new UsageException($"{error.TrimEnd('.')}; ./farm {Path(result)}--help shows what is right");
    }

    public static int Report(Exception error)
    {
        error = error is TypeInitializationException { InnerException: { } cause } ? cause : error; // what a library lacks is said by what it met
        var code = CodeOf(error);
        Console.Error.WriteLine("farm: " + OneLine(MessageOf(error, code)));
        if (Environment.GetEnvironmentVariable(TraceVariable) is { Length: > 0 })
        {
            Console.Error.WriteLine(error);
        }

        return code;
    }

    public static string OneLine(string text) => string.Join(' ', text.Split((char[])['\r', '\n', '\t'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));

    // the client library speaks of the API; what stands behind it on a command line is added here
    internal static string MessageOf(Exception error, int code) => error switch
    {
        FarmApiException { Status: 401 } => $"{error.Message} (set {Commands.ServerOptions.KeyVariable})",
        NotAFarmException => $"{error.Message}; --server names its address",
        _ when code == ExitCodes.Unexpected && error is not FarmClientException => $"unexpected {error.GetType().Name}: {error.Message} ({TraceVariable}=1 shows where)",
        _ when code == ExitCodes.Cancelled => "stopped",
        _ => error.Message,
    };

    internal static int CodeOf(Exception error) => error switch
    {
        UsageException or Imaging.ImageFormatException => ExitCodes.InvalidInput,
        CheckpointException or PipelineException or TokenizerException or ChatTemplateException => ExitCodes.Model,
        FarmUnreachableException or NotAFarmException or FarmApiException { IsTransient: true } => ExitCodes.Unreachable,
        FarmApiException { Status: < 500 } => ExitCodes.InvalidInput,
        FarmDownloadException => ExitCodes.Storage,
        FarmApiException => ExitCodes.Unexpected,
        AggregateException { InnerExceptions.Count: 1, InnerException: { } inner } => CodeOf(inner),
        _ => ExitCodes.For(error),
    };

    private static string Path(ParseResult result)
    {
        var names = new List<string>();
        for (var at = result.CommandResult; at.Parent is System.CommandLine.Parsing.CommandResult parent; at = parent)
        {
            names.Insert(0, at.Command.Name);
        }

        return string.Concat(names.Select(n => n + " "));
    }
}
