using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>The client's exit codes; docs/cli.md lists them. Append-only.</summary>
public static class ExitCodes
{
    public const int Success = 0;
    public const int Unexpected = 1;

    /// <summary>An option or a prompt file is wrong; nothing was started.</summary>
    public const int InvalidInput = 2;

    /// <summary>The out folder is in use, or belongs to another job.</summary>
    public const int OutFolderTaken = 3;

    /// <summary>Full disk, read-only folder, or another failure to write.</summary>
    public const int Storage = 4;

    /// <summary>The model cannot be loaded, or cannot do what is asked.</summary>
    public const int Model = 5;

    /// <summary>The job is done, but some samples were given up.</summary>
    public const int CompletedWithErrors = 6;

    /// <summary>The farm's server or Redis cannot be reached, or takes nothing more now.</summary>
    public const int Unreachable = 7;

    /// <summary>The job failed: its first 50 images all did, or an error that is not one image's ended it. Of generate: no image could be made.</summary>
    public const int JobFailed = 8;

    /// <summary>Somebody cancelled the job, or its deadline passed. A command that is stopped itself ends with <see cref="Cancelled"/>.</summary>
    public const int JobCancelled = 9;

    /// <summary>Stopped by Ctrl-C; the same command goes on where it was.</summary>
    public const int Cancelled = 130;

    /// <summary>The code for a failure that ended a command.</summary>
    public static int For(Exception exception) => exception switch
    {
        FarmException farm => farm.ExitCode,
        PromptFileException => InvalidInput,
        StorageException or ManifestException or ShardFormatException => Storage,
        UnauthorizedAccessException or IOException and not (FileNotFoundException or FileLoadException) => Storage,
        OperationCanceledException => Cancelled,
        _ => Unexpected,
    };
}

/// <summary>A failure whose message is one line: what, where, what would be right.</summary>
public abstract class FarmException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Whether trying the same again may succeed.</summary>
    public virtual bool IsTransient => false;

    public abstract int ExitCode { get; }
}

/// <summary>The head met an error of its own and does nothing more: its process must end, and a new one goes on with every job.</summary>
public sealed class HeadBrokenException(Exception cause)
    : FarmException($"the head has met an error of its own and must be started again: {cause.GetType().Name}: {cause.Message.ReplaceLineEndings(" ")}", cause)
{
    public override bool IsTransient => true;
    public override int ExitCode => InnerException is { } cause && ExitCodes.For(cause) is not ExitCodes.Cancelled and var code ? code : ExitCodes.Unexpected;
}

/// <summary>A value of the job is out of range, or the prompt file is not usable.</summary>
public sealed class JobSpecException(string message, Exception? inner = null) : FarmException(message, inner)
{
    /// <summary>The value that is wrong, as the web API names it, such as <c>samples_per_shard</c>; null where it is the prompts.</summary>
    public string? Field { get; init; }

    public override int ExitCode => ExitCodes.InvalidInput;
}

/// <summary>The out folder belongs to another job.</summary>
public sealed class OutFolderConflictException(string message, IReadOnlyList<(string Field, string Theirs, string Ours)> differences)
    : FarmException(message)
{
    /// <summary>Each field that differs: its name, what the folder's job has, what this job has.</summary>
    public IReadOnlyList<(string Field, string Theirs, string Ours)> Differences { get; } = differences;
    public override int ExitCode => ExitCodes.OutFolderTaken;
}

/// <summary>A running process holds the out folder.</summary>
public sealed class OutFolderInUseException(string message) : FarmException(message)
{
    public override bool IsTransient => true;
    public override int ExitCode => ExitCodes.OutFolderTaken;
}

/// <summary>The model cannot do what the job asks, or a slot's numerics are not the job's.</summary>
public sealed class ModelMismatchException(string message) : FarmException(message)
{
    public override int ExitCode => ExitCodes.Model;
}

/// <summary>Not one of the images asked for could be made.</summary>
public sealed class GenerationException(string message) : FarmException(message)
{
    public override int ExitCode => ExitCodes.JobFailed;
}
