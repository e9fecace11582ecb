using System.Threading.RateLimiting;
using Microsoft.AspNetCore.Http;

namespace MetaQuery.Silo.Web;

/// <summary>Each tenant's requests, in a token bucket of its own.</summary>
internal sealed class TenantRateLimit(RequestDelegate next, PartitionedRateLimiter<string> limiter)
{
    public static PartitionedRateLimiter<string> Create(int requestsPerMinute) => 
        PartitionedRateLimiter.Create<string, string>(who => RateLimitPartition.GetTokenBucketLimiter(who, _ => Bucket(requestsPerMinute)));

    /// <summary>A bucket that gives just so many a minute: in steps of a tenth of a second, or of one request where that is longer.</summary>
    internal static TokenBucketRateLimiterOptions Bucket(int requestsPerMinute)
    {
        int tokens = Math.Max(1, (requestsPerMinute + 599) / 600);
        return new TokenBucketRateLimiterOptions
        {
            TokenLimit = Math.Max(1, requestsPerMinute / 10),
            TokensPerPeriod = tokens,
            ReplenishmentPeriod = TimeSpan.FromSeconds(60d * tokens / requestsPerMinute),
            QueueLimit = 0,
            AutoReplenishment = true,
        };
    }

    public async Task InvokeAsync(HttpContext context)
    {
        // what needs no key is not limited: probes must answer, and the page's files are few
        if (context.Items[typeof(Caller)] is Caller caller && !ReferenceEquals(caller, Caller.Local))
        {
            using RateLimitLease lease = limiter.AttemptAcquire(Bucket(caller, context));
            if (!lease.IsAcquired)
            {
                TimeSpan wait = lease.TryGetMetadata(MetadataName.RetryAfter, out TimeSpan said) ? said : TimeSpan.FromSeconds(1);
                throw new ApiException(429, ReferenceEquals(caller, Caller.Signed) ? "this job's addresses are asked for too often" : $"tenant {caller.Tenant} asks too often", code: "rate_limit_exceeded", retryAfter: wait);
            }
        }

        await next(context);
    }

    // a signed address names no tenant, but a job: one crowded gallery must not slow the others. No tenant's name has a colon
    private static string Bucket(Caller caller, HttpContext context) => ReferenceEquals(caller, Caller.Signed) ? $"signed:{context.Request.RouteValues["id"]}" : caller.Tenant;
}
