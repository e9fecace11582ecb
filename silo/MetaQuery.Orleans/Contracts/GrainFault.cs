using MetaQuery.Data;
using MetaQuery.Farm;
using Orleans.Reminders.Redis;

namespace MetaQuery.Orleans;

/// <summary>What went wrong, as it crosses silos. Append-only.</summary>
public enum GrainFault : byte
{
    /// <summary>Not said more closely; trying again does not help.</summary>
    Other = 0,

    /// <summary>Nothing that can answer is there just now: trying again helps.</summary>
    Unavailable = 1,
    NotFound = 2,
    JobState = 3,
    IdempotencyConflict = 4,
    QueueFull = 5,
    JobSpec = 6,
    PromptFile = 7,
    ModelMismatch = 8,
    Storage = 9,
    DiskFull = 10,
}

/// <summary>A farm's failure on its way between silos: the farm's own exceptions are not Orleans' to serialise, and a caller must get back the type that its silo would have thrown.</summary>
[GenerateSerializer]
[Alias("mq.GrainFaultException")]
public sealed class GrainFaultException : Exception
{
    public GrainFaultException(GrainFault fault, string message)
        : base(message) => Fault = fault;

    [Id(0)]
    public GrainFault Fault { get; private set; }

    /// <summary>The value that is wrong, of <see cref="GrainFault.JobSpec"/>.</summary>
    [Id(1)]
    public string? Field { get; private set; }

    /// <summary>When it is worth asking again, of <see cref="GrainFault.QueueFull"/>.</summary>
    [Id(2)]
    public TimeSpan? RetryAfter { get; private set; }

    /// <returns>Null where the exception is none of the farm's.</returns>
    public static GrainFaultException? Of(Exception exception) => exception switch
    {
        GrainFaultException already => already,
        JobNotFoundException => new(GrainFault.NotFound, exception.Message),
        JobStateException => new(GrainFault.JobState, exception.Message),
        IdempotencyConflictException => new(GrainFault.IdempotencyConflict, exception.Message),
        QueueFullException full => new(GrainFault.QueueFull, full.Message) { RetryAfter = full.RetryAfter },
        JobSpecException spec => new(GrainFault.JobSpec, spec.Message) { Field = spec.Field },
        PromptLineException line => new(GrainFault.PromptFile, $"{line.Error}{(line.ErrorCount > 1 ? $" (and {line.ErrorCount - 1} more invalid lines)" : "")}"),
        PromptFileException => new(GrainFault.PromptFile, exception.Message),
        ModelMismatchException => new(GrainFault.ModelMismatch, exception.Message),
        StorageException { Fault: StorageFault.DiskFull } => new(GrainFault.DiskFull, exception.Message),
        StorageException => new(GrainFault.Storage, exception.Message),
        FileNotFoundException or DirectoryNotFoundException => new(GrainFault.NotFound, "what was asked for is gone"),
        FarmException { IsTransient: true } => new(GrainFault.Unavailable, exception.Message),
        FarmException => new(GrainFault.Other, exception.Message),
        ObjectDisposedException => new(GrainFault.Unavailable, "the head is leaving its silo"),
        RedisRemindersException => new(GrainFault.Unavailable, "redis does not take a job's reminder"), // Orleans wraps what storage throws, not this
        _ => null,
    };

    /// <summary>The exception that the farm itself would have thrown.</summary>
    public Exception ToFarmException() => Fault switch
    {
        GrainFault.NotFound => new JobNotFoundException(Message),
        GrainFault.JobState => new JobStateException(Message),
        GrainFault.IdempotencyConflict => new IdempotencyConflictException(Message),
        GrainFault.QueueFull => new QueueFullException(Message, RetryAfter ?? TimeSpan.FromSeconds(30)),
        GrainFault.JobSpec => new JobSpecException(Message) { Field = Field },
        GrainFault.PromptFile => new PromptFileException(Message),
        GrainFault.ModelMismatch => new ModelMismatchException(Message),
        GrainFault.DiskFull => new StorageException(StorageFault.DiskFull, Message),
        GrainFault.Storage => new StorageException(StorageFault.Other, Message),
        GrainFault.Unavailable => new ClusterException(Message, isTransient: true),
        _ => new ClusterException(Message, isTransient: false),
    };
}

/// <summary>The cluster cannot answer, or cannot be joined: one line.</summary>
public sealed class ClusterException(string message, bool isTransient, Exception? inner = null) : FarmException(message, inner)
{
    public override bool IsTransient { get; } = isTransient;
    public override int ExitCode => ExitCodes.Unreachable;
}

/// <summary>Turns the farm's exceptions into <see cref="GrainFaultException"/> where a call leaves a grain.</summary>
internal sealed class FaultFilter : IIncomingGrainCallFilter
{
    public async Task Invoke(IIncomingGrainCallContext context)
    {
        try
        {
            await context.Invoke();
        }
        catch (Exception exception) when (exception is not GrainFaultException && GrainFaultException.Of(exception) is { } fault)
        {
            throw fault;
        }
    }
}
