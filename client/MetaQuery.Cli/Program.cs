using System.CommandLine;
using System.CommandLine.Invocation;
using MetaQuery.Cli;

// Prompts may begin with '@', which System.CommandLine would take for the name of a response file.
var result = RootCommandFactory.Create().Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
if (result.Action is ParseErrorAction)
{
    return Failure.Report(Failure.Of(result));
}

using var stop = new StopSignals();
try
{
    return await result.InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null }, stop.Token);
}
catch (Exception error)
{
    return Failure.Report(error);
}
