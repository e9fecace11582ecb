using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace MetaQuery.Farm;

/// <summary>How a worker process serves a queue: nothing here changes a byte of what it makes.</summary>
public sealed record WorkerOptions
{
    /// <summary>Which halves it serves.</summary>
    public WorkRoles Roles { get; init; } = WorkRoles.Both;

    /// <summary>Batches at a time: an OS thread each, with its own halves over shared weights.</summary>
    public int Slots { get; init; } = 1;

    /// <summary>For people: <c>cpu</c> or <c>cuda:0</c>.</summary>
    public string Device { get; init; } = "cpu";

    /// <summary>Prompts per encoder call: an encoder sorts them into batches of like length, which more prompts fill better.</summary>
    public int EncodeBatchSize { get; init; } = 16;

    /// <summary>Most prompts that are encoded before images are denoised, where the model holds one half at a time; null: no turns are taken.</summary>
    public int? EncodeWindow { get; init; }

    /// <summary>The queue's own lease time: a heartbeat goes out three times within it.</summary>
    public TimeSpan LeaseTime { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long one call for work waits where there is none.</summary>
    public TimeSpan LeaseWait { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>How long a batch whose items state no time may give no sign of progress, such as a step or a prompt. A whole batch of the largest models takes hours
    /// on a few processor cores (docs/models.md), one of its steps minutes; loading a half belongs to the first one.</summary>
    public TimeSpan StallLimit { get; init; } = TimeSpan.FromMinutes(30);

    /// <summary>How often it looks for items that must run alone.</summary>
    public TimeSpan AloneEvery { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>Batches formed while an item waits for others of its shape, per slot; then its batch goes as it is.</summary>
    public int Patience { get; init; } = 8;

    /// <summary>Whether interactive images take bulk ones along in their batch. Null where the device decides: on a processor each row takes its own time.</summary>
    public bool? FillInteractive { get; init; }

    internal bool FillsInteractiveBatches => FillInteractive ?? Device != "cpu";

    /// <summary>Whether a full or read-only disk ends the worker; otherwise it is waited out, like a lost connection.</summary>
    public bool EndsOnStorageFault { get; init; }

    /// <summary>Where the pictures of prompts are; null where there are none.</summary>
    public IPictureSource? Pictures { get; init; }

    /// <summary>Shared by the worker hosts of one process; null for a host that has it for itself.</summary>
    public SharedProcess? Process { get; init; }

    /// <summary>Where it tells an operator what needs one.</summary>
    public ILogger Log { get; init; } = NullLogger.Instance;

    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <exception cref="JobSpecException">A value is out of range.</exception>
    internal void Check()
    {
        if (Roles is WorkRoles.None or > WorkRoles.Both)
        {
            throw new JobSpecException("a worker serves mllm, dit or both");
        }

        if (EncodeWindow < 1)
        {
            throw new JobSpecException($"a window of {EncodeWindow} prompts: at least 1");
        }

        if (Slots is < 1 or > 1024 || EncodeBatchSize is < 1 or > 1024 || Patience < 1)
        {
            throw new JobSpecException($"{Slots} slots, {EncodeBatchSize} prompts a batch: between 1 and 1024 each");
        }

        if (LeaseTime <= TimeSpan.Zero || StallLimit <= TimeSpan.Zero || AloneEvery <= TimeSpan.Zero || LeaseWait < TimeSpan.Zero)
        {
            throw new JobSpecException($"lease {LeaseTime}, stall limit {StallLimit}: expected more than nothing");
        }
    }
}
