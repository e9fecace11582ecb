using System.Buffers;
using System.Globalization;

namespace MetaQuery.Data;

/// <summary>The fields known here, and their other spellings.</summary>
internal enum PromptField
{
    Other,
    Prompt,
    Id,
    Seed,
    Steps,
    Guidance,
    NegativePrompt,
    Images,
    ImageGuidance,
}

/// <summary>One prompt while it is put together. Every setter returns what is wrong, or null.</summary>
internal sealed class PromptFields
{
    private ulong? _seed;
    private int? _steps;
    private float? _guidance;
    private string? _negativePrompt;
    private IReadOnlyList<string>? _images;
    private float? _imageGuidance;
    private bool _idIsNumber;

    public string? Prompt { get; private set; }

    public string? Id { get; private set; }

    public ReadOnlyMemory<byte> OtherFields { get; private set; }

    public static PromptField Known(ReadOnlySpan<char> name) => name switch
    {
        "prompt" => PromptField.Prompt,
        "id" => PromptField.Id,
        "seed" => PromptField.Seed,
        "steps" or "num_inference_steps" => PromptField.Steps,
        "guidance" or "guidance_scale" => PromptField.Guidance,
        "negative_prompt" or "negative prompt" => PromptField.NegativePrompt,
        "images" => PromptField.Images,
        "image_guidance" or "image_guidance_scale" => PromptField.ImageGuidance,
        _ => PromptField.Other,
    };

    /// <summary>A field of a name that every sample's JSON has already.</summary>
    public static string? CheckReserved(string name) => SampleMetadata.OwnFields.Contains(name)
        ? $"the field \"{name}\" is one that each sample's JSON has already; give it another name"
        : null;

    public PromptLine ToPromptLine(long line, long index) => new()
    {
        Line = line,
        Index = index,
        Prompt = Prompt ?? "",
        Id = Id,
        IdIsNumber = _idIsNumber,
        Seed = _seed,
        NumInferenceSteps = _steps,
        GuidanceScale = _guidance,
        NegativePrompt = _negativePrompt,
        Images = _images ?? [],
        ImageGuidanceScale = _imageGuidance,
        OtherFields = OtherFields,
    };

    public string? SetPrompt(string text, PromptLimits limits)
    {
        if (Prompt is not null)
        {
            return Twice("prompt");
        }

        Prompt = text;
        return CheckText("prompt", text, limits);
    }

    /// <summary>What only the whole line tells: a prompt may be empty where pictures speak for themselves.</summary>
    public string? CheckWhole()
    {
        if (_images is not { Count: > 0 })
        {
            return Prompt is null ? "has no \"prompt\"" : string.IsNullOrWhiteSpace(Prompt) ? "the prompt is empty" : null;
        }

        if (string.IsNullOrWhiteSpace(Prompt))
        {
            Prompt = ""; // blanks alone are no caption, and the guidance of a reconstruction goes by that
        }

        return null;
    }

    public string? SetImages(IReadOnlyList<string> images, PromptLimits limits)
    {
        if (_images is not null)
        {
            return Twice("images");
        }

        _images = images;
        if (images.Count > limits.MaxImages)
        {
            return $"the field \"images\" names {images.Count} pictures; a prompt may have {limits.MaxImages}";
        }

        for (int i = 0; i < images.Count; i++)
        {
            if (string.IsNullOrWhiteSpace(images[i]) || images[i].Contains('\0'))
            {
                return $"picture {i + 1} of the field \"images\" is no path and no data: URI";
            }
        }

        return null;
    }

    /// <param name="members">Of a JSON object, without its braces; empty for none.</param>
    /// <param name="limits">Of the file.</param>
    public string? SetOtherFields(ReadOnlySpan<byte> members, PromptLimits limits)
    {
        if (members.Length > limits.MaxOtherFieldsBytes)
        {
            return $"the other fields have {members.Length} bytes; they may have {limits.MaxOtherFieldsBytes}";
        }

        OtherFields = members.ToArray();
        return null;
    }

    public string? SetImageGuidance(ReadOnlySpan<char> text, PromptLimits limits)
    {
        if (_imageGuidance is not null)
        {
            return Twice("image_guidance_scale");
        }

        bool good = float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out float guidance)
            && guidance >= 0 && guidance <= limits.MaxGuidanceScale;
        _imageGuidance = guidance;
        return good ? null : $"image guidance {Shorten(text)} is not a number from 0 to {limits.MaxGuidanceScale}";
    }

    public string? SetNegativePrompt(string text, PromptLimits limits)
    {
        if (_negativePrompt is not null)
        {
            return Twice("negative_prompt");
        }

        _negativePrompt = text;
        return CheckText("negative prompt", text, limits);
    }

    public string? SetId(string text, bool isNumber, PromptLimits limits)
    {
        if (Id is not null)
        {
            return Twice("id");
        }

        (Id, _idIsNumber) = (text, isNumber);
        return text.Length is 0 || text.Length > limits.MaxIdCharacters
            ? $"the id has {text.Length} characters; it may have 1 to {limits.MaxIdCharacters}"
            : null;
    }

    public string? SetSeed(ReadOnlySpan<char> text)
    {
        if (_seed is not null)
        {
            return Twice("seed");
        }

        bool good = ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong seed);
        _seed = seed;
        return good ? null : $"the seed {Shorten(text)} is not a whole number from 0 to {ulong.MaxValue}";
    }

    public string? SetSteps(ReadOnlySpan<char> text, PromptLimits limits)
    {
        if (_steps is not null)
        {
            return Twice("steps");
        }

        bool good = int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int steps)
            && steps >= 1 && steps <= limits.MaxInferenceSteps;
        _steps = steps;
        return good ? null : $"steps {Shorten(text)} is not a whole number from 1 to {limits.MaxInferenceSteps}";
    }

    public string? SetGuidance(ReadOnlySpan<char> text, PromptLimits limits)
    {
        if (_guidance is not null)
        {
            return Twice("guidance");
        }

        bool good = float.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out float guidance)
            && guidance >= 0 && guidance <= limits.MaxGuidanceScale;
        _guidance = guidance;
        return good ? null : $"guidance {Shorten(text)} is not a number from 0 to {limits.MaxGuidanceScale}";
    }

    /// <summary>A value as an error message shows it: one line, at most 40 characters.</summary>
    public static string Shorten(ReadOnlySpan<char> text)
    {
        Span<char> shown = stackalloc char[Math.Min(text.Length, 40)];
        for (int i = 0; i < shown.Length; i++)
        {
            shown[i] = char.IsControl(text[i]) ? ' ' : text[i];
        }

        return text.Length > shown.Length ? $"{shown}…" : shown.ToString();
    }

    private static string Twice(string name) => $"the field \"{name}\" stands twice";

    private static string? CheckText(string what, string text, PromptLimits limits)
    {
        if (text.Length > limits.MaxPromptCharacters)
        {
            return $"the {what} has {text.Length} characters; it may have {limits.MaxPromptCharacters}";
        }

        return text.Contains('\0') ? $"the {what} holds a NUL character at place {text.IndexOf('\0') + 1}" : null;
    }
}
