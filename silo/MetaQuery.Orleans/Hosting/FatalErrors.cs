using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>What Orleans cannot go on from, above all that the other silos declared this one dead: the process must end at once, since others have its work by now.</summary>
internal sealed class FatalErrors(SiloLife life) : IFatalErrorHandler
{
    public bool IsUnexpected(Exception exception) => exception is not OperationCanceledException;

    public void OnFatalException(object? sender = null, string? context = null, Exception? exception = null)
    {
        string reason = (context ?? exception?.Message ?? "no reason was given").ReplaceLineEndings(" ");
        int details = reason.IndexOf(" Reason:", StringComparison.Ordinal); // where it is declared dead: the table of all members
        reason = details < 0 ? reason : $"{reason[..details].TrimEnd('!', ' ')} (it stood still, or could not be reached)";
        life.Die($"this silo cannot stay in the cluster: {reason}; its work goes on elsewhere, and a new one may be started in its place");
    }
}
