using System.Text.Json;

namespace MetaQuery.Client;

/// <param name="Position">Place in the job, from 0.</param>
/// <param name="Key">Its name in its shard.</param>
/// <param name="SampleIndex">Which of the prompt's images.</param>
/// <param name="Metadata">Its provenance: seed, steps, guidance, model, sha256.</param>
/// <param name="ImageUrl">Relative to the server; where the server has keys, it is signed and needs none for an hour.</param>
/// <param name="ThumbnailUrl">Likewise, of a copy with no side longer than 256 pixels; null from a server that makes none.</param>
public sealed record Sample(long Position, string Key, string Prompt, int SampleIndex, JsonElement Metadata, string ImageUrl, string? ThumbnailUrl = null);

/// <param name="Next">For <c>from</c>; null where nothing follows yet.</param>
public sealed record SampleList(string Object, IReadOnlyList<Sample> Data, long? Next);

/// <summary>A sample that was given up.</summary>
public sealed record SampleFailure(string Key, long PromptIndex, int SampleIndex, string Prompt, string Reason);

public sealed record FailureList(string Object, IReadOnlyList<SampleFailure> Data);

/// <param name="Sha256">Of a shard; null for other files.</param>
/// <param name="Url">Relative to the server; signed as <see cref="Sample.ImageUrl"/> is.</param>
public sealed record JobFile(string Name, long Bytes, string MediaType, string? Sha256, string Url);

public sealed record FileList(string Object, IReadOnlyList<JobFile> Data);
