using System.Text.Json;
using System.Text.Encodings.Web;

namespace MetaQuery.Farm;

/// <summary>A failed sample as a JSON line: what a shard's <c>_failed.jsonl</c> holds beside it.</summary>
internal static class FailureFile
{
    private static readonly JsonSerializerOptions Options = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static string NameFor(string shardName) => Path.GetFileNameWithoutExtension(shardName) + "_failed.jsonl";

    public static byte[] ToLine(FailedSample failure) => JsonSerializer.SerializeToUtf8Bytes(failure, Options);

    public static FailedSample Parse(ReadOnlySpan<byte> line) =>
        JsonSerializer.Deserialize<FailedSample>(line, Options) ?? throw new JsonException("a failure's line is null");
}
