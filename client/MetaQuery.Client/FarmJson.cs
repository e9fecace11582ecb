using System.Text.Json.Serialization;

namespace MetaQuery.Client;

/// <summary>How everything here is written on the wire: snake_case, ISO 8601, nulls stated. Frozen by a test.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(JobRequest))]
[JsonSerializable(typeof(Job))]
[JsonSerializable(typeof(JobList))]
[JsonSerializable(typeof(JobEventData))]
[JsonSerializable(typeof(Sample))]
[JsonSerializable(typeof(SampleList))]
[JsonSerializable(typeof(FailureList))]
[JsonSerializable(typeof(FileList))]
[JsonSerializable(typeof(WorkerList))]
[JsonSerializable(typeof(SiloList))]
[JsonSerializable(typeof(CacheReport))]
[JsonSerializable(typeof(Usage))]
[JsonSerializable(typeof(Tenant))]
[JsonSerializable(typeof(TenantRequest))]
[JsonSerializable(typeof(Health))]
[JsonSerializable(typeof(ImageRequest))]
[JsonSerializable(typeof(ImageEditRequest))]
[JsonSerializable(typeof(ImageResponse))]
[JsonSerializable(typeof(ChatRequest))]
[JsonSerializable(typeof(ChatResponse))]
[JsonSerializable(typeof(ChatChunk))]
[JsonSerializable(typeof(IReadOnlyList<ChatContentPart>))]
[JsonSerializable(typeof(IReadOnlyList<string>))]
[JsonSerializable(typeof(Model))]
[JsonSerializable(typeof(ModelList))]
[JsonSerializable(typeof(ErrorResponse))]
public sealed partial class FarmJson : JsonSerializerContext;
