namespace MetaQuery.Models.Checkpoints;

/// <summary>Tells a folder's licence from the files beside its weights.</summary>
static class Licences
{
    const int HeadChars = 4096;

    /// <summary>How the usual texts begin.</summary>
    static readonly (string Phrase, string Identifier)[] Texts =
    [
        ("Apache License", "Apache-2.0"), ("MIT License", "MIT"), ("Permission is hereby granted, free of charge", "MIT"),
        ("Attribution-NonCommercial-ShareAlike 4.0", "CC-BY-NC-SA-4.0"), ("Attribution-NonCommercial 4.0", "CC-BY-NC-4.0"),
        ("Attribution-ShareAlike 4.0", "CC-BY-SA-4.0"), ("Attribution 4.0", "CC-BY-4.0"), ("CC0 1.0", "CC0-1.0"), ("CreativeML Open RAIL", "CreativeML-OpenRAIL-M"),
    ];

    /// <summary>The card's <c>license</c> field, else the licence files of the folder or of its <c>licenses</c> folder; null if there are none.</summary>
    public static string? Of(string folder)
    {
        if (FromCard(Path.Combine(folder, "README.md")) is { } stated)
            return stated;
        string texts = Path.Combine(folder, "licenses");
        string[] beside = [.. Directory.GetFiles(folder).Where(static file => IsLicence(Path.GetFileName(file)))], below = Directory.Exists(texts) ? Directory.GetFiles(texts) : [];
        string[] files = [.. beside.Order(StringComparer.Ordinal), .. below.Order(StringComparer.Ordinal)];
        return files.Length == 0 ? null : string.Join(", ", files.Select(Identify).Distinct(StringComparer.Ordinal));
    }

    static bool IsLicence(string name) =>
        name.StartsWith("LICENSE", StringComparison.OrdinalIgnoreCase) || name.StartsWith("LICENCE", StringComparison.OrdinalIgnoreCase) || name.StartsWith("COPYING", StringComparison.OrdinalIgnoreCase);

    static string Identify(string file)
    {
        string head = Head(file);
        foreach (var (phrase, identifier) in Texts)
        {
            if (head.Contains(phrase, StringComparison.OrdinalIgnoreCase))
                return identifier;
        }
        return Path.GetFileName(file);
    }

    /// <summary>Hugging Face's model cards begin with a block of YAML between two lines of dashes.</summary>
    static string? FromCard(string path)
    {
        if (!File.Exists(path))
            return null;
        string[] lines = Head(path).Split('\n', StringSplitOptions.TrimEntries);
        if (lines[0] is not "---")
            return null;
        const string Field = "license:";
        return lines.Skip(1).TakeWhile(static line => line is not "---").FirstOrDefault(static line => line.StartsWith(Field, StringComparison.Ordinal))?[Field.Length..].Trim(' ', '"', '\'') is { Length: > 0 } licence
            ? licence : null;
    }

    static string Head(string file)
    {
        using var reader = new StreamReader(file);
        char[] head = new char[HeadChars];
        return new string(head, 0, reader.ReadBlock(head));
    }
}
