using System.Diagnostics.CodeAnalysis;

namespace MetaQuery.Farm;

/// <summary>The tenants of one priority class, in deficit round robin.</summary>
internal sealed class TenantRing<TItem>
{
    private readonly List<Tenant> _tenants = [];
    private int _cursor;
    private long _added;

    public void SetWeight(string name, double weight)
    {
        if (Find(name) is { } tenant)
        {
            tenant.Weight = weight;
        }
    }

    public void Add(IWorkSource<TItem> source, string name, double weight, long order)
    {
        Tenant? tenant = Find(name);
        if (tenant is null)
        {
            _tenants.Add(tenant = new Tenant(name) { Weight = weight });
        }

        tenant.Jobs.Add((order, _added++), source);
    }

    public void Remove(IWorkSource<TItem> source, string name)
    {
        Tenant tenant = Find(name)!;
        tenant.Jobs.RemoveAt(tenant.Jobs.IndexOfValue(source));
        if (tenant.Jobs.Count > 0)
        {
            return;
        }

        int index = _tenants.IndexOf(tenant);
        _tenants.RemoveAt(index);
        if (_cursor > index)
        {
            _cursor--; // whoever was next is next still
        }
    }

    public bool TryNext([MaybeNullWhen(false)] out TItem item)
    {
        item = default;
        if (_tenants.Count == 0)
        {
            return false;
        }

        double heaviest = 0;
        foreach (Tenant tenant in _tenants)
        {
            tenant.IsEmptyNow = false;
            tenant.CreditBefore = tenant.Credit;
            heaviest = Math.Max(heaviest, tenant.Weight);
        }

        // each pass serves one, or finds one empty, or gives the credit that one of the rest lacks: no more passes than three per tenant
        while (true)
        {
            double rounds = double.PositiveInfinity;
            for (int i = 0; i < _tenants.Count; i++)
            {
                int index = (_cursor + i) % _tenants.Count;
                Tenant tenant = _tenants[index];
                if (tenant.IsEmptyNow)
                {
                    continue;
                }

                if (tenant.Credit < 1)
                {
                    rounds = Math.Min(rounds, Math.Max(1, Math.Ceiling((1 - tenant.Credit) * heaviest / tenant.Weight)));
                }
                else if (tenant.TryTake(out item))
                {
                    tenant.Credit -= 1;
                    _cursor = (index + 1) % _tenants.Count;
                    return true;
                }
                else
                {
                    tenant.IsEmptyNow = true;
                }
            }

            if (double.IsPositiveInfinity(rounds))
            {
                // nobody was served: a look that found nothing must not make credits grow
                _tenants.ForEach(tenant => tenant.Credit = tenant.CreditBefore);
                item = default;
                return false;
            }

            foreach (Tenant tenant in _tenants)
            {
                double quantum = tenant.Weight / heaviest;
                double most = Math.Max(1 + quantum, FairScheduler<TItem>.RememberedRounds * quantum);
                tenant.Credit = Math.Max(tenant.Credit, Math.Min(most, tenant.Credit + (rounds * quantum)));
            }
        }
    }

    private Tenant? Find(string name) => _tenants.Find(tenant => string.Equals(tenant.Name, name, StringComparison.Ordinal));

    private sealed class Tenant(string name)
    {
        public string Name { get; } = name;
        public double Weight { get; set; }
        public double Credit { get; set; }
        public double CreditBefore { get; set; }
        public bool IsEmptyNow { get; set; }
        public SortedList<(long Order, long Added), IWorkSource<TItem>> Jobs { get; } = [];

        public bool TryTake([MaybeNullWhen(false)] out TItem item)
        {
            foreach (IWorkSource<TItem> job in Jobs.Values)
            {
                if (job.TryTake(out item))
                {
                    return true;
                }
            }

            item = default;
            return false;
        }
    }
}
