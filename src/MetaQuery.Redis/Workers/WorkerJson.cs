using System.Text.Json.Serialization;
using MetaQuery.Farm;

namespace MetaQuery.Redis;

/// <summary>A worker's words as they lie in Redis; the hash's field <c>v</c> is their version, 1. Frozen by a test: members may be added, with defaults.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(WorkerInfo))]
[JsonSerializable(typeof(WorkerStatus))]
internal sealed partial class WorkerJson : JsonSerializerContext;
