namespace MetaQuery.Silo.Web;

/// <summary>Places that requests hold while they last: so many in all, and so many of one tenant, so that none can take them all.</summary>
/// <param name="most">In all.</param>
/// <param name="mostOfTenant">Of one tenant; a server without keys has one tenant only, who may have all.</param>
/// <param name="retryAfter">What who finds no place is told.</param>
internal sealed class TenantPlaces(int most, int mostOfTenant, string code, TimeSpan retryAfter)
{
    private readonly Lock _lock = new();
    private readonly Dictionary<string, int> _byTenant = new(StringComparer.Ordinal);
    private int _taken;

    /// <summary>Places taken now.</summary>
    public int Taken => Volatile.Read(ref _taken);

    /// <summary>Takes a place until what is returned is disposed of.</summary>
    /// <param name="what">For the refusal, such as "event streams are open".</param>
    /// <exception cref="ApiException">None is left, or none for this tenant: 429.</exception>
    public IDisposable Take(Caller caller, string what)
    {
        lock (_lock)
        {
            int own = _byTenant.GetValueOrDefault(caller.Tenant);
            if (_taken >= most)
            {
                throw Refusal($"{most} {what} already");
            }

            if (own >= mostOfTenant && !ReferenceEquals(caller, Caller.Local))
            {
                throw Refusal($"{mostOfTenant} {what} already for tenant {caller.Tenant}");
            }

            _byTenant[caller.Tenant] = own + 1;
            _taken++;
        }

        return new Place(this, caller.Tenant);
    }

    private ApiException Refusal(string message) => new(429, message, code: code, retryAfter: retryAfter);

    private void Leave(string tenant)
    {
        lock (_lock)
        {
            _taken--;
            if (--_byTenant[tenant] == 0)
            {
                _byTenant.Remove(tenant);
            }
        }
    }

    private sealed class Place(TenantPlaces places, string tenant) : IDisposable
    {
        private int _left;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _left, 1) == 0)
            {
                places.Leave(tenant);
            }
        }
    }
}
