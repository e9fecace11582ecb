namespace MetaQuery.Farm;

/// <summary>What tenants are entitled to. The head asks it at every submission and every turn, so that a change takes effect at once.</summary>
/// <remarks>Thread-safe and quick: no call may wait for a disk or a network.</remarks>
public interface ITenantDirectory
{
    TenantRules RulesOf(string tenant);
}

/// <param name="Weight">Share of the slots beside other tenants of the same class; above 0.</param>
/// <param name="MaxQueuedImages">Images that are not settled; null for no limit.</param>
/// <param name="ImagesPerDay">Images asked for from midnight to midnight UTC; null for no limit.</param>
public sealed record TenantRules(double Weight = 1, long? MaxQueuedImages = null, long? ImagesPerDay = null)
{
    public static readonly TenantRules Default = new();

    /// <summary>The check that belongs into <see cref="IFarm.SubmitAsync"/>, once the number of images is known and before anything is promised.</summary>
    /// <exception cref="JobSpecException">The job is larger than the tenant's limits: waiting would not help.</exception>
    /// <exception cref="QueueFullException">The tenant would have more than it is entitled to.</exception>
    public void Check(TenantUsage usage, long images, DateTimeOffset now)
    {
        ArgumentNullException.ThrowIfNull(usage);
        if (images > MaxQueuedImages)
        {
            throw new JobSpecException($"the job asks for {images} images, and tenant {usage.Tenant} may queue at most {MaxQueuedImages}; ask for fewer, in several jobs");
        }

        if (images > ImagesPerDay)
        {
            throw new JobSpecException($"the job asks for {images} images, and tenant {usage.Tenant} may ask for at most {ImagesPerDay} a day; ask for fewer, in several jobs");
        }

        if (usage.QueuedImages + images > MaxQueuedImages)
        {
            throw new QueueFullException(
                $"tenant {usage.Tenant} has {usage.QueuedImages} images queued and asks for {images} more; {MaxQueuedImages} may be queued at a time", TimeSpan.FromSeconds(30));
        }

        if (usage.ImagesToday + images > ImagesPerDay)
        {
            DateTime day = now.UtcDateTime.Date;
            throw new QueueFullException(
                $"tenant {usage.Tenant} asked for {usage.ImagesToday} images today and asks for {images} more; {ImagesPerDay} a day are allowed", day.AddDays(1) - now.UtcDateTime);
        }
    }
}

/// <summary>All tenants alike, without limits: the embedded farm, and a server without keys.</summary>
public sealed class OpenTenants : ITenantDirectory
{
    public TenantRules RulesOf(string tenant) => TenantRules.Default;
}
