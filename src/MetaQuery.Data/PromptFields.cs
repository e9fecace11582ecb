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
}

/// <summary>One prompt while it is put together. Every setter returns what is wrong, or null.</summary>
internal sealed class PromptFields
{
    private ulong? _seed;
    private int? _steps;
    private float? _guidance;
    private string? _negativePrompt;
    private bool _idIsNumber;

    public string? Prompt { get; private set; }

    public string? Id { get; private set; }

    public ReadOnlyMemory<byte> OtherFields { get; set; }

    public static PromptField Known(ReadOnlySpan<char> name) => name switch
    {
        "prompt" => PromptField.Prompt,
        "id" => PromptField.Id,
        "seed" => PromptField.Seed,
        "steps" or "num_inference_steps" => PromptField.Steps,
        "guidance" or "guidance_scale" => PromptField.Guidance,
        "negative_prompt" or "negative prompt" => PromptField.NegativePrompt,
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
        Prompt = Prompt!,
        Id = Id,
        IdIsNumber = _idIsNumber,
        Seed = _seed,
        NumInferenceSteps = _steps,
        GuidanceScale = _guidance,
        NegativePrompt = _negativePrompt,
        OtherFields = OtherFields,
    };

    public string? SetPrompt(string text, PromptLimits limits)
    {
        if (Prompt is not null)
        {
            return Twice("prompt");
        }

        if (string.IsNullOrWhiteSpace(text))
        {
            return "the prompt is empty";
        }

        Prompt = text;
        return CheckText("prompt", text, limits);
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
