using System.Net;
using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Web;

/// <summary>Says who asks, before anything else is looked at.</summary>
internal sealed class AccessCheck(RequestDelegate next, ApiKeyRing keys, UrlSigner signer, WebOptions options)
{
    private const string Scheme = "Bearer ";
    private static readonly string[] ProxyHeaders = ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"];

    public Task InvokeAsync(HttpContext context)
    {
        CheckSite(context.Request);
        if (NeedsKey(context.Request.Path))
        {
            context.Items[typeof(Caller)] = Identify(context.Request);
        }

        return next(context);
    }

    private bool NeedsKey(PathString path) => path.StartsWithSegments("/v1") || (path.StartsWithSegments("/metrics") && !options.OpenMetrics);

    private Caller Identify(HttpRequest request)
    {
        if (!keys.AreRequired)
        {
            return Caller.Local; // refuses to start off loopback without keys: FarmWebServer
        }

        if ((HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method)) && request.Query.ContainsKey("signature"))
        {
            return signer.Covers(request)
                ? Caller.Signed
                : throw new ApiException(403, "this address' signature is not good any more; ask for the list again", "signature", "expired_url");
        }

        string? header = request.Headers.Authorization;
        if (header is null || !header.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase))
        {
            throw Refused("no key was given; send it as Authorization: Bearer KEY");
        }

        return keys.Find(header[Scheme.Length..].Trim()) is { } key
            ? new Caller(key.Tenant, key.Admin)
            : throw Refused("the key is not known here, or it was revoked");

        static ApiException Refused(string message) => new(401, message, "Authorization", "invalid_api_key");
    }

    /// <summary>A web page of another site must not steer a farm on the reader's own machine: its requests name their origin, and a name rebound to loopback stands in Host.</summary>
    private void CheckSite(HttpRequest request)
    {
        if (!keys.AreRequired && !IsLoopbackName(request.Host.Host))
        {
            throw new ApiException(403, $"host {request.Host.Host} is not loopback, and this server has no keys", "Host", "wrong_host");
        }

        // a proxy on this machine comes from loopback with everybody's requests
        if (!keys.AreRequired && ProxyHeaders.FirstOrDefault(request.Headers.ContainsKey) is { } header)
        {
            throw new ApiException(403, $"this request came through a proxy ({header}), and this server has no keys: ./farm keys add --tenant NAME makes one", header, "proxy_without_keys");
        }

        // where a key is asked for, a page of another site has none to send
        string? origin = request.Headers.Origin;
        if (origin is null || keys.AreRequired || HttpMethods.IsGet(request.Method) || HttpMethods.IsHead(request.Method) || HttpMethods.IsOptions(request.Method))
        {
            return;
        }

        // a proxy may have ended TLS: the scheme is then not the page's
        bool isOwn = Uri.TryCreate(origin, UriKind.Absolute, out Uri? page) && string.Equals(page.Authority, request.Host.Value, StringComparison.OrdinalIgnoreCase);
        if (!isOwn && !options.AllowedOrigins.Contains(origin, StringComparer.OrdinalIgnoreCase))
        {
            throw new ApiException(403, "pages of this origin may not use this server; --cors names those that may", "Origin", "wrong_origin");
        }
    }

    private static bool IsLoopbackName(string host) =>
        host.Length == 0 || string.Equals(host, "localhost", StringComparison.OrdinalIgnoreCase) || host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase)
        || (IPAddress.TryParse(host.Trim('[', ']'), out IPAddress? address) && IPAddress.IsLoopback(address));
}
