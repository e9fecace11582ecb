using System.Globalization;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Primitives;

namespace MetaQuery.Silo.Web;

/// <summary>A parameter of the query string: what the endpoint reads and what the OpenAPI document says of it, in one place.</summary>
/// <param name="Values">The only values taken; null for any.</param>
/// <param name="IsList">Whether it may hold several values, with commas between them.</param>
internal sealed record QueryParameter(string Name, string Description, long? Least = null, long? Most = null, long? Standard = null, IReadOnlyList<string>? Values = null, bool IsList = false)
{
    /// <exception cref="ApiException">Not a whole number in the range.</exception>
    public long Number(HttpContext context)
    {
        string? text = Text(context);
        if (text is null)
        {
            return Standard ?? 0;
        }

        return long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long value) && value >= Least && value <= Most
            ? value
            : throw ApiException.Invalid(Name, $"{Name} must be a whole number from {Least} to {Most}, not {Short(text)}");
    }

    /// <exception cref="ApiException">Given twice, or not one of the values.</exception>
    public string? Text(HttpContext context)
    {
        StringValues given = context.Request.Query[Name];
        if (given.Count > 1)
        {
            throw ApiException.Invalid(Name, $"{Name} is given {given.Count} times; once is enough");
        }

        return given.Count == 1 && given[0] is { Length: > 0 } text ? text : null;
    }

    /// <exception cref="ApiException">A value is not one of those known.</exception>
    public IReadOnlyList<string>? List(HttpContext context)
    {
        if (Text(context) is not { } text)
        {
            return null;
        }

        string[] parts = text.Split(',', StringSplitOptions.TrimEntries);
        return parts.FirstOrDefault(part => Values?.Contains(part) == false) is { } unknown
            ? throw ApiException.Invalid(Name, $"{Name} must be one or several of {string.Join(", ", Values!)}, not {Short(unknown)}")
            : parts;
    }

    private static string Short(string text) => text.Length <= 40 ? text : text[..37] + "...";
}
