using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.RegularExpressions;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Pipelines;

namespace MetaQuery.Cli.Output;

/// <summary>A model folder's inspection, for people and for programs.</summary>
internal static partial class InspectionReport
{
    // a list that is longer tells no more
    private const int MostNames = 50;

    private static readonly JsonWriterOptions Readable = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <returns>Whether the folder can be used.</returns>
    public static bool Write(string folder, bool asJson)
    {
        ModelInspection found = ModelInspection.Of(folder);
        if (asJson)
        {
            WriteJson(found);
        }
        else
        {
            WriteText(found);
        }

        return found.Lacks.Count == 0;
    }

    private static void WriteText(ModelInspection found)
    {
        Console.WriteLine(found.Folder);
        foreach (PartInspection part in found.Parts)
        {
            Console.WriteLine($"  {part.Name}{(part.ClassName is null ? "" : $" ({part.ClassName})")} in {part.Place}: {Summary(part.Tensors, part.Parameters, part.Bytes, part.Dtypes)}");
            foreach (var row in Rows(part.Tensors))
            {
                Console.WriteLine($"    {row}");
            }

            WriteNames("missing", part.Missing);
            WriteNames("of another shape", [.. part.Misshapen.Select(weight => $"{weight.Key} is {Shape(weight.Shape)}, should be {Shape(weight.ExpectedShape)}")]);
            WriteNames("unexpected", part.Unexpected);
        }

        Console.WriteLine($"  together: {Number(found.Parts.Sum(part => part.Parameters))} parameters, {Sizes.Bytes(found.Parts.Sum(part => part.Bytes))}");
        Console.WriteLine(found.Lacks.Count == 0 ? "it is a MetaQuery: nothing is missing" : "what it lacks to be a MetaQuery:");
        foreach (var line in found.Lacks)
        {
            Console.WriteLine($"  {line}");
        }
    }

    private static void WriteNames(string what, IReadOnlyList<string> names)
    {
        if (names.Count == 0)
        {
            return;
        }

        Console.WriteLine($"    {names.Count} {what}:");
        foreach (var name in names.Take(MostNames))
        {
            Console.WriteLine($"      {name}");
        }

        if (names.Count > MostNames)
        {
            Console.WriteLine($"      and {names.Count - MostNames} more; --json names all");
        }
    }

    private static string Summary(IReadOnlyList<WeightInfo> tensors, long parameters, long bytes, IReadOnlyList<string> dtypes) =>
        $"{tensors.Count} tensors, {Number(parameters)} parameters, {string.Join(" and ", dtypes)}, {Sizes.Bytes(bytes)}";

    /// <summary>A row for all tensors whose names differ in numbers alone: the layers of a part look alike.</summary>
    private static IEnumerable<string> Rows(IReadOnlyList<WeightInfo> tensors) => tensors
        .GroupBy(tensor => (Name: Digits().Replace(tensor.Key, "*"), Shape: Shape(tensor.Shape), tensor.StoredType))
        .Select(group => group.Count() == 1 ? $"{group.First().Key} {group.Key.Shape} {group.Key.StoredType}" : $"{group.Key.Name} {group.Key.Shape} {group.Key.StoredType}, {group.Count()} times");

    private static string Shape(IReadOnlyList<long> shape) => $"[{string.Join(", ", shape)}]";

    private static string Number(long number) => number switch
    {
        >= 1_000_000_000 => string.Create(CultureInfo.InvariantCulture, $"{number / 1e9:0.00} G"),
        >= 1_000_000 => string.Create(CultureInfo.InvariantCulture, $"{number / 1e6:0.0} M"),
        _ => number.ToString("N0", CultureInfo.InvariantCulture),
    };

    private static void WriteJson(ModelInspection found)
    {
        using var stdout = Console.OpenStandardOutput();
        using (var json = new Utf8JsonWriter(stdout, Readable))
        {
            json.WriteStartObject();
            json.WriteString("folder", found.Folder);
            json.WriteBoolean("is_metaquery", found.Lacks.Count == 0);
            WriteTexts(json, "lacks", found.Lacks);
            json.WriteStartArray("parts");
            foreach (PartInspection part in found.Parts)
            {
                WritePart(json, part);
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        stdout.Write("\n"u8);
    }

    private static void WritePart(Utf8JsonWriter json, PartInspection part)
    {
        json.WriteStartObject();
        json.WriteString("name", part.Name);
        json.WriteString("file", part.Place);
        json.WriteString("class", part.ClassName);
        json.WriteNumber("parameters", part.Parameters);
        json.WriteNumber("bytes", part.Bytes);
        WriteTexts(json, "dtypes", part.Dtypes);
        WriteTexts(json, "missing", part.Missing);
        WriteTexts(json, "unexpected", part.Unexpected);
        json.WriteStartArray("misshapen");
        foreach (MisshapenWeight weight in part.Misshapen)
        {
            json.WriteStartObject();
            json.WriteString("name", weight.Key);
            WriteShape(json, "shape", weight.Shape);
            WriteShape(json, "expected_shape", weight.ExpectedShape);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteStartArray("tensors");
        foreach (WeightInfo tensor in part.Tensors)
        {
            json.WriteStartObject();
            json.WriteString("name", tensor.Key);
            WriteShape(json, "shape", tensor.Shape);
            json.WriteString("dtype", tensor.StoredType);
            json.WriteNumber("bytes", tensor.StoredBytes);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteTexts(Utf8JsonWriter json, string name, IEnumerable<string> texts)
    {
        json.WriteStartArray(name);
        foreach (var text in texts)
        {
            json.WriteStringValue(text);
        }

        json.WriteEndArray();
    }

    private static void WriteShape(Utf8JsonWriter json, string name, IEnumerable<long> shape)
    {
        json.WriteStartArray(name);
        foreach (var size in shape)
        {
            json.WriteNumberValue(size);
        }

        json.WriteEndArray();
    }

    // numbers that are a whole part of a dotted name
    [GeneratedRegex(@"(?<=\.|^)\d+(?=\.|$)", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Digits();
}
