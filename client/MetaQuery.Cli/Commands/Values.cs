using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Silo;

namespace MetaQuery.Cli.Commands;

/// <summary>Options whose values are checked while the command line is read, with an error that says what would be right.</summary>
internal static class Values
{
    // no thousands separators: "4,5" would be read as 45
    private const NumberStyles Plain = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;

    public static Option<T?> Number<T>(string name, string description, T least, T most, string? alias = null)
        where T : struct, INumber<T> => new(name, alias is null ? [] : [alias])
        {
            Description = description,
            HelpName = "NUMBER",
            CustomParser = result => Parse<T>(result, name, text => T.TryParse(text, Plain, CultureInfo.InvariantCulture, out var value) && value >= least && value <= most
                ? value
                : null, $"a {(typeof(T) == typeof(float) || typeof(T) == typeof(double) ? "number" : "whole number")} from {least} to {most}"),
        };

    public static Option<float?> ImageGuidance() =>
        Number("--image-guidance", "How much pictures of a prompt guide; 1 or less is not at all (default: 1.5, and 3 where the prompt is empty).", 0f, 100f);

    public static Option<ImageSize?> Size() => new("--size")
    {
        Description = "Picture size in pixels: one number for both sides, or HEIGHTxWIDTH (default: the model's).",
        HelpName = "HxW",
        CustomParser = result => Parse(result, "--size", ParseSize, "a side such as 64, or HEIGHTxWIDTH such as 64x96"),
    };

    public static Option<ImageFormat> Format() => new("--format")
    {
        Description = "png, jpg or webp (default png).",
        HelpName = "FORMAT",
        CustomParser = result => Parse(result, "--format", ImageEncoder.Parse, "png, jpg or webp") ?? ImageFormat.Png,
    };

    public static Option<string?> Dtype(string standard = "bfloat16 where the processor or device computes in it") => new("--dtype")
    {
        Description = $"float32 or bfloat16 (default: {standard}).",
        HelpName = "DTYPE",
        CustomParser = result => result.Tokens[0].Value switch
        {
            "float32" or "fp32" => "float32",
            "bfloat16" or "bf16" => "bfloat16",
            var other => Refuse<string>(result, $"--dtype {other}: must be float32 or bfloat16"),
        },
    };

    /// <summary>Where to compute; what there is on this machine is checked when the model is loaded.</summary>
    public static Option<string> Device() => new("--device")
    {
        Description = "cpu, cuda or cuda:1; part of what a picture's bits depend on.",
        HelpName = "DEVICE",
        DefaultValueFactory = _ => LocalModel.Cpu,
        CustomParser = result => result.Tokens[0].Value switch
        {
            "cpu" or "cuda" => result.Tokens[0].Value,
            ['c', 'u', 'd', 'a', ':', .. var ordinal] when int.TryParse(ordinal, NumberStyles.None, CultureInfo.InvariantCulture, out _) => result.Tokens[0].Value,
            var other => Refuse<string>(result, $"--device {other}: must be cpu, cuda, or cuda: and a number, such as cuda:1"),
        },
    };

    /// <summary>One of a few words.</summary>
    /// <param name="standard">Null where leaving it out means something of its own.</param>
    public static Option<string?> Choice(string name, string description, string? standard, string helpName, params string[] choices)
    {
        var option = new Option<string?>(name)
        {
            Description = description,
            HelpName = helpName,
            CustomParser = result => choices.Contains(result.Tokens[0].Value, StringComparer.Ordinal)
                ? result.Tokens[0].Value
                : Refuse<string>(result, $"{name} {result.Tokens[0].Value}: must be {string.Join(", ", choices[..^1])} or {choices[^1]}"),
        };
        option.CompletionSources.Add(choices);
        if (standard is not null)
        {
            option.DefaultValueFactory = _ => standard;
        }

        return option;
    }

    /// <summary>A whole number that a command needs.</summary>
    public static Argument<int> Count(string name, string description, int least, int most) => new(name)
    {
        Description = description,
        CustomParser = result => Parse<int>(
            result, name.ToUpperInvariant(), text => int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var value) && value >= least && value <= most ? value : null,
            $"a whole number from {least} to {most}") ?? 0,
    };

    public static Option<string> Text(string name, string description, string standard, string helpName) => new(name)
    {
        Description = description,
        HelpName = helpName,
        DefaultValueFactory = _ => standard,
    };

    public static Option<long?> MemoryBudget() => new("--memory-budget")
    {
        Description = "Memory that this process may take, such as 12GiB: where it does not hold the whole model, the model's halves take turns (default: no limit); changes no picture.",
        HelpName = "SIZE",
        CustomParser = result => Parse(result, "--memory-budget", ParseBytes, "a size such as 12GiB or 900MiB"),
    };

    internal static long? ParseBytes(string text)
    {
        foreach (var (unit, bytes) in ((string, double)[])[("GiB", 1L << 30), ("MiB", 1L << 20), ("GB", 1e9), ("MB", 1e6)])
        {
            if (text.EndsWith(unit, StringComparison.OrdinalIgnoreCase)
                && double.TryParse(text[..^unit.Length], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var count) && count * bytes is >= 1 and < 1e15)
            {
                return (long)(count * bytes);
            }
        }

        return null;
    }

    internal static ImageSize? ParseSize(string text)
    {
        var parts = text.Split('x', 'X', '×');
        return parts.Length is 1 or 2 && parts.All(p => int.TryParse(p, NumberStyles.None, CultureInfo.InvariantCulture, out var side) && side > 0)
            ? new ImageSize(int.Parse(parts[0]), int.Parse(parts[^1]))
            : null;
    }

    private static T? Parse<T>(ArgumentResult result, string name, Func<string, T?> parse, string right)
        where T : struct => parse(result.Tokens[0].Value) is { } value ? value : Refuse<T?>(result, $"{name} {result.Tokens[0].Value}: must be {right}");

    private static T? Refuse<T>(ArgumentResult result, string message)
    {
        result.AddError(message);
        return default;
    }
}
