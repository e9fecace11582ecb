using System.Buffers;

namespace MetaQuery.Data;

/// <summary>A sample's .json: fields in a fixed order, numbers in the invariant notation, then the prompt line's other fields as they stood.</summary>
public sealed record SampleMetadata
{
    /// <summary>The names that a sample's JSON uses itself. A prompt file may not use them for fields of its own.</summary>
    internal static readonly IReadOnlyList<string> OwnFields =
    [
        "key", "prompt_index", "sample_index", "width", "height", "model", "model_revision", "sha256",
    ];

    public required string Key { get; init; }

    public required PromptLine Prompt { get; init; }

    /// <summary>Which of the prompt's images it is, from 0.</summary>
    public required int SampleIndex { get; init; }

    /// <summary>The image's own seed.</summary>
    public required ulong Seed { get; init; }

    public required int NumInferenceSteps { get; init; }

    public required float GuidanceScale { get; init; }

    public required int WidthPixels { get; init; }

    public required int HeightPixels { get; init; }

    public required string ModelName { get; init; }

    public required string ModelRevision { get; init; }

    /// <summary>The negative prompt used, "" if none.</summary>
    public string NegativePrompt { get; init; } = "";

    /// <summary>Of a prompt with pictures: how much it is guided by them; null for one without.</summary>
    public float? ImageGuidanceScale { get; init; }

    /// <summary>UTF-8, one line, no newline at its end.</summary>
    /// <param name="imageSha256">Of the image file's bytes, lower-case hex; null inside the image file itself.</param>
    public byte[] ToJson(string? imageSha256 = null)
    {
        ArrayBufferWriter<byte> json = JsonText.Object(writer =>
        {
            writer.WriteString("key", Key);
            writer.WriteString("prompt", Prompt.Prompt);
            writer.WriteString("negative_prompt", NegativePrompt);
            if (Prompt.Id is not null)
            {
                writer.WritePropertyName("id");
                if (Prompt.IdIsNumber)
                {
                    writer.WriteRawValue(Prompt.Id);
                }
                else
                {
                    writer.WriteStringValue(Prompt.Id);
                }
            }

            writer.WriteNumber("prompt_index", Prompt.Index);
            writer.WriteNumber("sample_index", SampleIndex);
            writer.WriteNumber("seed", Seed);
            writer.WriteNumber("steps", NumInferenceSteps);
            writer.WriteNumber("guidance", GuidanceScale);
            if (ImageGuidanceScale is { } imageGuidance)
            {
                writer.WriteNumber("image_guidance", imageGuidance);
                writer.WriteStartArray("images");
                foreach (LinePicture picture in Prompt.Pictures)
                {
                    writer.WriteStringValue(picture.Sha256);
                }

                writer.WriteEndArray();
            }

            writer.WriteNumber("width", WidthPixels);
            writer.WriteNumber("height", HeightPixels);
            writer.WriteString("model", ModelName);
            writer.WriteString("model_revision", ModelRevision);
            if (imageSha256 is not null)
            {
                writer.WriteString("sha256", imageSha256);
            }
        });

        ReadOnlySpan<byte> own = json.WrittenSpan;
        if (Prompt.OtherFields.IsEmpty)
        {
            return own.ToArray();
        }

        // own fields first, so that a reader of a cut line still meets them; the others keep the file's bytes
        byte[] all = new byte[own.Length + 1 + Prompt.OtherFields.Length];
        own[..^1].CopyTo(all);
        all[own.Length - 1] = (byte)',';
        Prompt.OtherFields.Span.CopyTo(all.AsSpan(own.Length));
        all[^1] = (byte)'}';
        return all;
    }
}
