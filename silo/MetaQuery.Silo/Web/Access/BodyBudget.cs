using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Web;

/// <summary>Memory for bodies that bring pictures: so many bytes at a time, so that however many requests come, they do not fill the process.</summary>
internal sealed class BodyBudget(WebOptions options)
{
    private readonly long _mostOfTenant = Math.Max(1, options.MaxPictureBytesAtOnce / 2);
    private readonly TenantPlaces _bytes = new(options.MaxPictureBytesAtOnce, Math.Max(1, options.MaxPictureBytesAtOnce / 2), "bodies_full", TimeSpan.FromSeconds(2));

    /// <summary>Takes what a body needs, before it is read, until what is returned is disposed of.</summary>
    /// <param name="mostBytes">What is taken of a body that does not say its length.</param>
    /// <exception cref="ApiException">There is no room for it, or none for this tenant: 429.</exception>
    public IDisposable Take(HttpContext context, long mostBytes)
    {
        long bytes = Math.Clamp(context.Request.ContentLength ?? mostBytes, 1, Math.Min(mostBytes, _mostOfTenant)); // a longer one is refused where it is read
        return _bytes.Take(Caller.Of(context), "bytes of bodies with pictures are in memory", bytes);
    }
}
