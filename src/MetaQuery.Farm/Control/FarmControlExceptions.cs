namespace MetaQuery.Farm;

/// <summary>There is no such job, sample or file, or it is not the asker's to see.</summary>
public sealed class JobNotFoundException(string message) : FarmException(message)
{
    public override int ExitCode => ExitCodes.InvalidInput;
}

/// <summary>A job's state does not allow what was asked.</summary>
public sealed class JobStateException(string message) : FarmException(message)
{
    public override int ExitCode => ExitCodes.InvalidInput;
}

/// <summary>An idempotency key came again with another content.</summary>
public sealed class IdempotencyConflictException(string message) : FarmException(message)
{
    public override int ExitCode => ExitCodes.InvalidInput;
}

/// <summary>The farm or the tenant has as much queued as is allowed.</summary>
public sealed class QueueFullException(string message, TimeSpan retryAfter) : FarmException(message)
{
    /// <summary>When it is worth asking again.</summary>
    public TimeSpan RetryAfter { get; } = retryAfter;
    public override bool IsTransient => true;
    public override int ExitCode => ExitCodes.Unreachable;
}

/// <summary>The folder is not the one that the farm's jobs lie in: an empty mount point, another farm's, a wrong path.</summary>
public sealed class OtherDataFolderException(string message) : FarmException(message)
{
    public override int ExitCode => ExitCodes.OutFolderTaken;
}

/// <summary>A running head holds the data folder.</summary>
public sealed class DataFolderInUseException(string message) : FarmException(message)
{
    public override bool IsTransient => true;
    public override int ExitCode => ExitCodes.OutFolderTaken;
}
