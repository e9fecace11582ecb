using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>The two halves of the pipeline that a worker can serve. Values are persisted: append-only.</summary>
[Flags]
public enum WorkRoles : byte
{
    None = 0,

    /// <summary>Prompts to conditions.</summary>
    Mllm = 1,

    /// <summary>Conditions to pictures.</summary>
    Dit = 2,
    Both = Mllm | Dit,
}

/// <summary>One piece of work as it lies in a queue: self-contained, so that any worker of its lane can do it.</summary>
public abstract record WorkItem
{
    /// <summary>Its name for good, in every process and after every restart: a second item of the same name is the same work.</summary>
    public abstract string Id { get; }

    /// <summary>Which half it needs.</summary>
    public abstract WorkRoles Role { get; }

    /// <summary>Interactive before bulk.</summary>
    public JobPriority Priority { get; init; }

    /// <summary>How often it was handed out before; grows each time the head feeds it again.</summary>
    public int Attempt { get; init; }

    /// <summary>A batch that held it failed: it is run in a batch of its own, which tells whether it was the cause.</summary>
    public bool RunsSingly { get; init; }

    /// <summary>Holders of it have died: it goes to a worker process that does nothing else meanwhile.</summary>
    public bool RunsAlone { get; init; }

    /// <summary>Longest time the batch that makes it may take; null for the worker's own limit.</summary>
    public TimeSpan? Timeout { get; init; }
}

/// <summary>A condition to make, whoever waits for it: one per key in the whole farm. Where several jobs do, the first one's priority and time limit hold.</summary>
/// <param name="Key">Names the condition.</param>
/// <param name="Request">What to encode.</param>
/// <param name="KeepOnDisk">Whether it is wanted again long after.</param>
public sealed record EncodeItem(ConditionKey Key, ConditionRequest Request, bool KeepOnDisk) : WorkItem
{
    public override string Id => $"e/{Key}";
    public override WorkRoles Role => WorkRoles.Mllm;
}

/// <summary>One image to make.</summary>
/// <param name="JobId">The job it belongs to.</param>
/// <param name="Position">Place of the sample in the job: prompt index × images per prompt + sample index.</param>
/// <param name="SampleKey">The sample's key in its shard.</param>
/// <param name="Prompt">The prompt's line, with what travels into the sample's JSON.</param>
/// <param name="Settings">Steps, guidance and negative prompt.</param>
/// <param name="SampleIndex">Which of the prompt's images.</param>
/// <param name="Seed">The image's own seed.</param>
/// <param name="Condition">Names the prompt's condition.</param>
/// <param name="Negative">Names the negative prompt's; null without guidance.</param>
/// <param name="Size">Of the picture, in pixels.</param>
/// <param name="BatchSize">The job's one batch shape.</param>
/// <param name="Format">Of the picture's file.</param>
/// <param name="Quality">1 to 100 for jpg and webp.</param>
public sealed record DenoiseItem(
    string JobId, long Position, string SampleKey, PromptLine Prompt, LineSettings Settings, int SampleIndex, ulong Seed,
    ConditionKey Condition, ConditionKey? Negative, ImageSize Size, int BatchSize, ImageFormat Format, int Quality) : WorkItem
{
    public override string Id => $"d/{JobId}/{Position}";
    public override WorkRoles Role => WorkRoles.Dit;

    /// <summary>Rows of one batch agree in this, whatever job, tenant or prompt they come from.</summary>
    public BatchShape Shape => new(Size, Settings.NumInferenceSteps, Settings.Branches, BatchSize);

    /// <summary>Names the condition of the negative prompt with the prompt's pictures; null unless guided by pictures.</summary>
    public ConditionKey? ImageCondition { get; init; }
}

/// <summary>What the rows of one denoising batch must share.</summary>
/// <param name="Size">Of the pictures.</param>
/// <param name="NumInferenceSteps">Denoising steps.</param>
/// <param name="Branches">Of guidance: 1, 2, or 3 with input pictures.</param>
/// <param name="BatchSize">The jobs' one batch shape.</param>
public readonly record struct BatchShape(ImageSize Size, int NumInferenceSteps, int Branches, int BatchSize);
