using MetaQuery.Farm;

namespace MetaQuery.Orleans;

[GenerateSerializer]
[Alias("mq.SampleView")]
public struct SampleViewSurrogate
{
    [Id(0)] public long Position;
    [Id(1)] public string Key;
    [Id(2)] public string Prompt;
    [Id(3)] public int SampleIndex;
    [Id(4)] public string MetadataJson;
}

[RegisterConverter]
public sealed class SampleViewConverter : IConverter<SampleView, SampleViewSurrogate>
{
    public SampleView ConvertFromSurrogate(in SampleViewSurrogate surrogate) =>
        new(surrogate.Position, surrogate.Key, surrogate.Prompt, surrogate.SampleIndex, surrogate.MetadataJson);

    public SampleViewSurrogate ConvertToSurrogate(in SampleView value) => new()
    {
        Position = value.Position,
        Key = value.Key,
        Prompt = value.Prompt,
        SampleIndex = value.SampleIndex,
        MetadataJson = value.MetadataJson,
    };
}

[GenerateSerializer]
[Alias("mq.SamplePage")]
public struct SamplePageSurrogate
{
    [Id(0)] public SampleView[] Samples;
    [Id(1)] public long? NextPosition;
}

[RegisterConverter]
public sealed class SamplePageConverter : IConverter<SamplePage, SamplePageSurrogate>
{
    public SamplePage ConvertFromSurrogate(in SamplePageSurrogate surrogate) => new(surrogate.Samples, surrogate.NextPosition);

    public SamplePageSurrogate ConvertToSurrogate(in SamplePage value) => new() { Samples = [.. value.Samples], NextPosition = value.NextPosition };
}

[GenerateSerializer]
[Alias("mq.SampleContent")]
public struct SampleContentSurrogate
{
    [Id(0)] public SampleView Sample;
    [Id(1)] public byte[] Image;
    [Id(2)] public string MediaType;
}

[RegisterConverter]
public sealed class SampleContentConverter : IConverter<SampleContent, SampleContentSurrogate>
{
    public SampleContent ConvertFromSurrogate(in SampleContentSurrogate surrogate) => new(surrogate.Sample, surrogate.Image, surrogate.MediaType);

    public SampleContentSurrogate ConvertToSurrogate(in SampleContent value) => new() { Sample = value.Sample, Image = value.Image.ToArray(), MediaType = value.MediaType };
}

[GenerateSerializer]
[Alias("mq.FailedSample")]
public struct FailedSampleSurrogate
{
    [Id(0)] public string Key;
    [Id(1)] public long PromptIndex;
    [Id(2)] public int SampleIndex;
    [Id(3)] public string Prompt;
    [Id(4)] public string Reason;
}

[RegisterConverter]
public sealed class FailedSampleConverter : IConverter<FailedSample, FailedSampleSurrogate>
{
    public FailedSample ConvertFromSurrogate(in FailedSampleSurrogate surrogate) =>
        new(surrogate.Key, surrogate.PromptIndex, surrogate.SampleIndex, surrogate.Prompt, surrogate.Reason);

    public FailedSampleSurrogate ConvertToSurrogate(in FailedSample value) => new()
    {
        Key = value.Key,
        PromptIndex = value.PromptIndex,
        SampleIndex = value.SampleIndex,
        Prompt = value.Prompt,
        Reason = value.Reason,
    };
}

[GenerateSerializer]
[Alias("mq.JobFile")]
public struct JobFileSurrogate
{
    [Id(0)] public string Name;
    [Id(1)] public long Bytes;
    [Id(2)] public string MediaType;
    [Id(3)] public string? Sha256;
}

[RegisterConverter]
public sealed class JobFileConverter : IConverter<JobFile, JobFileSurrogate>
{
    public JobFile ConvertFromSurrogate(in JobFileSurrogate surrogate) => new(surrogate.Name, surrogate.Bytes, surrogate.MediaType, surrogate.Sha256);

    public JobFileSurrogate ConvertToSurrogate(in JobFile value) => new() { Name = value.Name, Bytes = value.Bytes, MediaType = value.MediaType, Sha256 = value.Sha256 };
}
