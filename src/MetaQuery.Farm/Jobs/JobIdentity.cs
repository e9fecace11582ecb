using System.Buffers;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>What makes two jobs the same: every field that shapes a byte of the shards, in canonical form.</summary>
/// <remarks>Fields are named and ordered; values are text in the invariant notation. Append-only, frozen by a test.</remarks>
internal sealed class JobIdentity
{
    public const int Version = 1;

    private static readonly JsonWriterOptions Json = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private JobIdentity(IReadOnlyList<(string Name, string Value)> fields)
    {
        Fields = fields;
        Hash = ComputeHash(fields);
    }

    public IReadOnlyList<(string Name, string Value)> Fields { get; }

    /// <summary>SHA-256 of the fields, lower-case hex.</summary>
    public string Hash { get; }

    public static JobIdentity Create(JobPlan plan)
    {
        ResolvedSettings settings = plan.Settings;
        List<(string, string)> fields =
        [
            ("prompts_sha256", plan.Source.Digest),
            ("prompts", Text(plan.PromptCount)),
            ("images_per_prompt", Text(settings.ImagesPerPrompt)),
            ("height", Text(settings.Size.HeightPixels)),
            ("width", Text(settings.Size.WidthPixels)),
            ("steps", Text(settings.NumInferenceSteps)),
            ("guidance", settings.GuidanceScale.ToString("R", CultureInfo.InvariantCulture)),
            ("negative_prompt", settings.NegativePrompt),
            ("seed", settings.Seed.ToString(CultureInfo.InvariantCulture)),
            ("samples_per_shard", Text(settings.SamplesPerShard)),
            ("image_encoding", ImageEncoder.Identity(settings.Format, settings.Quality)),
            ("batch_size", Text(settings.BatchSize)),
            ("model", plan.Images.ModelName),
            ("model_revision", plan.Images.ModelRevision),
            // numerics have rules of their own: see OutFolder
            ("conditions", ConditionKey.Create(plan.Conditions with { Numerics = "" }, new ConditionRequest("")).ToString()),
            ("dtype", plan.Images.Numerics.Dtype),
            ("prompts_format", plan.Source.Format), // the same bytes are other prompts under another extension
        ];
        if (plan.Pictures is { } pictures)
        {
            fields.Add(("pictures_sha256", pictures.Digest));
            fields.Add(("image_guidance", settings.ImageGuidanceScale?.ToString("R", CultureInfo.InvariantCulture) ?? "default"));
        }

        return new JobIdentity(fields);
    }

    /// <summary>The content of job.json.</summary>
    public byte[] ToJson(IReadOnlyList<string> numerics)
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, Json))
        {
            writer.WriteStartObject();
            writer.WriteNumber("version", Version);
            writer.WriteString("job_sha256", Hash);
            writer.WritePropertyName("job");
            WriteFields(writer);
            writer.WriteStartArray("numerics");
            foreach (string fingerprint in numerics)
            {
                writer.WriteStringValue(fingerprint);
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
        }

        return [.. buffer.WrittenSpan, (byte)'\n'];
    }

    public string FieldsToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var writer = new Utf8JsonWriter(buffer, new JsonWriterOptions { Encoder = Json.Encoder }))
        {
            WriteFields(writer);
        }

        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    /// <summary>Reads job.json.</summary>
    /// <exception cref="JobSpecException">The file is no job.json that this version knows.</exception>
    public static (JobIdentity Identity, IReadOnlyList<string> Numerics) Parse(ReadOnlyMemory<byte> json, string path)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            int version = document.RootElement.GetProperty("version").GetInt32();
            if (version != Version)
            {
                throw new JobSpecException($"{path}: version {version} is not known here; version {Version} is");
            }

            var identity = new JobIdentity(
                [.. document.RootElement.GetProperty("job").EnumerateObject().Select(field => (field.Name, field.Value.GetString() ?? ""))]);
            string[] numerics = [.. document.RootElement.GetProperty("numerics").EnumerateArray().Select(item => item.GetString() ?? "")];
            return (identity, numerics);
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            throw new JobSpecException($"{path}: not a job.json of this program: {exception.Message}", exception);
        }
    }

    /// <summary>The fields in which a folder's job differs from this one.</summary>
    public IReadOnlyList<(string Field, string Theirs, string Ours)> DifferencesFrom(JobIdentity theirs)
    {
        var ours = Fields.ToDictionary(field => field.Name, field => field.Value);
        var others = theirs.Fields.ToDictionary(field => field.Name, field => field.Value);
        return
        [
            .. Fields.Select(field => field.Name).Union(theirs.Fields.Select(field => field.Name))
                .Select(name => (name, others.GetValueOrDefault(name, "none"), ours.GetValueOrDefault(name, "none")))
                .Where(field => field.Item2 != field.Item3),
        ];
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static string ComputeHash(IReadOnlyList<(string Name, string Value)> fields)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(Encoding.UTF8.GetBytes($"metaquery-job {Version}\n"));
        foreach ((string name, string value) in fields)
        {
            byte[] text = Encoding.UTF8.GetBytes(value);
            hash.AppendData(Encoding.UTF8.GetBytes($"{name} {text.Length}\n"));
            hash.AppendData(text);
            hash.AppendData("\n"u8);
        }

        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    private void WriteFields(Utf8JsonWriter writer)
    {
        writer.WriteStartObject();
        foreach ((string name, string value) in Fields)
        {
            writer.WriteString(name, value);
        }

        writer.WriteEndObject();
    }
}
