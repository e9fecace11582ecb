using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Web;

/// <summary>What tells a browser to be careful with our answers.</summary>
internal static class SecurityHeaders
{
    // scripts and styles from this server only; pictures also from memory, for they may be fetched with a key
    private const string Policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

    public static Task AddAsync(HttpContext context, RequestDelegate next)
    {
        IHeaderDictionary headers = context.Response.Headers;
        headers.XContentTypeOptions = "nosniff";
        headers.XFrameOptions = "DENY";
        headers["Referrer-Policy"] = "no-referrer"; // addresses may be signed
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()";
        headers.ContentSecurityPolicy = Policy;
        return next(context);
    }
}
