namespace MetaQuery.Farm;

/// <summary>A journal lost what it had promised, or a newer version wrote it. A person must decide.</summary>
public sealed class JournalDamagedException(string message) : FarmException(message)
{
    public override int ExitCode => ExitCodes.Storage;
}
