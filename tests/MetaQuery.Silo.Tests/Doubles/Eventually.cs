using System.Diagnostics;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>Waits for a condition, with a generous limit.</summary>
internal static class Eventually
{
    public static async Task Async(Func<Task<bool>> condition)
    {
        var watch = Stopwatch.StartNew();
        while (!await condition())
        {
            Assert.True(watch.Elapsed < TimeSpan.FromMinutes(3), "what was waited for has not come within three minutes");
            await Task.Delay(20);
        }
    }
}
