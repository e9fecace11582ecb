using Microsoft.Extensions.Hosting;

namespace MetaQuery.Orleans;

/// <summary>Each silo asks for the head each second: so one is started somewhere within that time after the last one's silo is known to be dead, and everybody knows where it is.
/// A silo that holds a head though its grain is on another silo hears it so, and lets it go.</summary>
internal sealed class HeadKeeper(IGrainFactory grains, HeadHost heads, HeadWhereabouts whereabouts, MembershipTimes times) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        IHeadGrain head = grains.GetGrain<IHeadGrain>(0);
        while (!stoppingToken.IsCancellationRequested)
        {
            bool isRunning = false;
            try
            {
                HeadStanding standing = await head.EnsureAsync().WaitAsync(stoppingToken);
                whereabouts.Hear(standing);
                isRunning = standing.IsRunning;
                await heads.HearAsync(standing).WaitAsync(stoppingToken);
            }
#pragma warning disable CA1031 // no silo with the role, or the one that had it is dying, or this one starts or ends: asked again, and the word's age tells
            catch (Exception) when (!stoppingToken.IsCancellationRequested)
#pragma warning restore CA1031
            {
            }

            await Task.Delay(isRunning ? times.HeadLook : times.HeadLook / 4, stoppingToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }
}
