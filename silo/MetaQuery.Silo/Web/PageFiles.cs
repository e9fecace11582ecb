using System.Collections.Frozen;
using System.Reflection;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace MetaQuery.Silo.Web;

/// <summary>The page's files, held in memory: a request's path is looked up in a table and never reaches the file system.</summary>
internal sealed class PageFiles
{
    private const string Prefix = "wwwroot/";

    private static readonly FrozenDictionary<string, string> MediaTypes = new Dictionary<string, string>
    {
        [".html"] = "text/html; charset=utf-8",
        [".css"] = "text/css; charset=utf-8",
        [".js"] = "text/javascript; charset=utf-8",
        [".json"] = "application/json",
        [".webmanifest"] = "application/manifest+json",
        [".svg"] = "image/svg+xml",
        [".png"] = "image/png",
        [".ico"] = "image/x-icon",
        [".woff2"] = "font/woff2",
        [".txt"] = "text/plain; charset=utf-8",
    }.ToFrozenDictionary(StringComparer.OrdinalIgnoreCase);

    private readonly RequestDelegate _next;
    private readonly FrozenDictionary<string, (byte[] Bytes, string MediaType, EntityTagHeaderValue Tag)> _files;

    public PageFiles(RequestDelegate next)
    {
        _next = next;
        Assembly assembly = typeof(PageFiles).Assembly;
        _files = assembly.GetManifestResourceNames().Where(name => name.StartsWith(Prefix, StringComparison.Ordinal)).ToFrozenDictionary(
            name => "/" + name[Prefix.Length..].Replace('\\', '/'),
            name =>
            {
                using Stream stream = assembly.GetManifestResourceStream(name)!;
                byte[] bytes = new byte[stream.Length];
                stream.ReadExactly(bytes);
                string mediaType = MediaTypes.GetValueOrDefault(Path.GetExtension(name)) ?? throw new InvalidOperationException($"{name}: no media type is known for it; PageFiles lists them");
                return (bytes, mediaType, new EntityTagHeaderValue($"\"{Convert.ToHexStringLower(SHA256.HashData(bytes).AsSpan(0, 8))}\""));
            });
    }

    public Task InvokeAsync(HttpContext context)
    {
        HttpRequest request = context.Request;
        bool isRead = HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method);
        return isRead && _files.TryGetValue(request.Path.Value is null or "" or "/" ? "/index.html" : request.Path.Value, out var file)
            ? TypedResults.Bytes(file.Bytes, file.MediaType, entityTag: file.Tag).ExecuteAsync(context)
            : _next(context);
    }
}
