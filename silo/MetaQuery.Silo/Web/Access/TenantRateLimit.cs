using System.Threading.RateLimiting;
using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Web;

/// <summary>Each tenant's requests, in a token bucket of its own.</summary>
internal sealed class TenantRateLimit(RequestDelegate next, PartitionedRateLimiter<string> limiter)
{
    public static PartitionedRateLimiter<string> Create(int requestsPerMinute) => PartitionedRateLimiter.Create<string, string>(tenant => RateLimitPartition.GetTokenBucketLimiter(tenant, _ => new TokenBucketRateLimiterOptions
    {
        TokenLimit = Math.Max(1, requestsPerMinute / 10),
        TokensPerPeriod = Math.Max(1, requestsPerMinute / 60),
        ReplenishmentPeriod = TimeSpan.FromSeconds(Math.Max(1, 60d / requestsPerMinute)),
        QueueLimit = 0,
        AutoReplenishment = true,
    }));

    public async Task InvokeAsync(HttpContext context)
    {
        // what needs no key is not limited: probes must answer, and the page's files are few
        if (context.Items[typeof(Caller)] is Caller caller && caller != Caller.Local)
        {
            using RateLimitLease lease = limiter.AttemptAcquire(caller.Tenant);
            if (!lease.IsAcquired)
            {
                TimeSpan wait = lease.TryGetMetadata(MetadataName.RetryAfter, out TimeSpan said) ? said : TimeSpan.FromSeconds(1);
                throw new ApiException(429, $"tenant {caller.Tenant} asks too often", code: "rate_limit_exceeded", retryAfter: wait);
            }
        }

        await next(context);
    }
}
