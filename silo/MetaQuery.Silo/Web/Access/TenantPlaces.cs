namespace MetaQuery.Silo.Web;

/// <summary>Places that requests hold while they last: so many in all, and so many of one tenant, so that none can take them all.</summary>
/// <param name="most">In all.</param>
/// <param name="mostOfTenant">Of one tenant; a server without keys has one tenant only, who may have all.</param>
/// <param name="retryAfter">What who finds no place is told.</param>
internal sealed class TenantPlaces(long most, long mostOfTenant, string code, TimeSpan retryAfter)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, long> _byTenant = new(StringComparer.Ordinal);
    private long _taken;

    /// <summary>Places taken now.</summary>
    public long Taken => Volatile.Read(ref _taken);

    /// <summary>Takes a place until what is returned is disposed of.</summary>
    /// <param name="what">For the refusal, such as "event streams are open".</param>
    /// <param name="count">Places that it needs; at most those of a tenant.</param>
    /// <exception cref="ApiException">None is left, or none for this tenant: 429.</exception>
    public IDisposable Take(Caller caller, string what, long count = 1)
    {
        lock (_lock)
        {
            long own = _byTenant.GetValueOrDefault(caller.Tenant);
            if (_taken + count > most)
            {
                throw Refusal($"{most} {what} already");
            }

            if (own + count > mostOfTenant && !ReferenceEquals(caller, Caller.Local))
            {
                throw Refusal($"{mostOfTenant} {what} already for tenant {caller.Tenant}");
            }

            _byTenant[caller.Tenant] = own + count;
            _taken += count;
        }

        return new Place(this, caller.Tenant, count);
    }

    private ApiException Refusal(string message) => new(429, message, code: code, retryAfter: retryAfter);

    private void Leave(string tenant, long count)
    {
        lock (_lock)
        {
            _taken -= count;
            if ((_byTenant[tenant] -= count) == 0)
            {
                _byTenant.Remove(tenant);
            }
        }
    }

    private sealed class Place(TenantPlaces places, string tenant, long count) : IDisposable
    {
        private int _left;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _left, 1) == 0)
            {
                places.Leave(tenant, count);
            }
        }
    }
}
