using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Vision;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

[LeakCheck]
public sealed class VisionFeatureCacheTests
{
    private const int BytesOfOne = 4 * sizeof(float);

    [Fact]
    public void The_least_recently_used_is_dropped_first()
    {
        using var cache = new VisionFeatureCache(2 * BytesOfOne);
        Get(cache, "a", 1);
        Get(cache, "b", 2);
        Get(cache, "a", 9);
        Get(cache, "c", 3);
        Assert.Equal(1, Get(cache, "a", 9));
        Assert.Equal(9, Get(cache, "b", 9));
        Assert.Equal((2, 2L * BytesOfOne, 2L, 4L), (cache.Count, cache.Bytes, cache.Hits, cache.Misses));
    }

    [Fact]
    public void Features_outlive_their_place_in_the_cache()
    {
        using var cache = new VisionFeatureCache(BytesOfOne);
        using var made = cache.GetOrEncode("a", () => Features(1));
        using var kept = cache.GetOrEncode("a", () => Features(9));
        Get(cache, "b", 2);
        Assert.Equal(1, Value(made));
        Assert.Equal(1, Value(kept));
    }

    [Fact]
    public void What_is_larger_than_the_cache_is_handed_out_and_not_kept()
    {
        using var cache = new VisionFeatureCache(BytesOfOne - 1);
        Assert.Equal(1, Get(cache, "a", 1));
        Assert.Equal(2, Get(cache, "a", 2));
        Assert.Equal((0, 0L), (cache.Count, cache.Bytes));
    }

    [Fact]
    public void A_failure_leaves_nothing_behind()
    {
        using var cache = new VisionFeatureCache(BytesOfOne);
        Assert.Throws<InvalidDataException>(() => cache.GetOrEncode("a", () => throw new InvalidDataException()));
        Assert.Equal(3, Get(cache, "a", 3));
    }

    [Fact]
    public void Of_two_threads_that_miss_the_same_picture_one_computes_it()
    {
        using var cache = new VisionFeatureCache(BytesOfOne);
        float second = 0;
        var other = new Thread(() => second = Get(cache, "a", 2));
        using var first = cache.GetOrEncode("a", () =>
        {
            other.Start();
            Assert.True(SpinWait.SpinUntil(() => other.ThreadState.HasFlag(ThreadState.WaitSleepJoin), TimeSpan.FromMinutes(1)), "the other thread does not wait");
            return Features(1);
        });
        Assert.True(other.Join(TimeSpan.FromMinutes(1)));
        Assert.Equal((1, 1, 1L, 1L), (Value(first), second, cache.Misses, cache.Hits));
    }

    [Fact]
    public void Waiting_for_another_threads_picture_ends_when_it_is_cancelled()
    {
        using var cache = new VisionFeatureCache(BytesOfOne);
        using var leaving = new CancellationTokenSource();
        Exception? second = null;
        var other = new Thread(() => second = Record.Exception(() => { cache.GetOrEncode("a", () => Features(2), leaving.Token).Dispose(); }));
        using var first = cache.GetOrEncode("a", () =>
        {
            other.Start();
            Assert.True(SpinWait.SpinUntil(() => other.ThreadState.HasFlag(ThreadState.WaitSleepJoin), TimeSpan.FromMinutes(1)), "the other thread does not wait");
            leaving.Cancel();
            Assert.True(other.Join(TimeSpan.FromMinutes(1)), "it waits for ever");
            return Features(1);
        });
        Assert.IsType<OperationCanceledException>(second);
        Assert.Equal((1, 1L), (cache.Count, cache.Misses));
    }

    [Fact]
    public void Who_has_waited_for_long_computes_the_picture_itself_and_the_others_wait_for_that_one()
    {
        using var cache = new VisionFeatureCache(BytesOfOne, TimeSpan.FromMilliseconds(50));
        float second = 0;
        var other = new Thread(() => second = Get(cache, "a", 2));
        using var first = cache.GetOrEncode("a", () =>
        {
            other.Start();
            Assert.True(other.Join(TimeSpan.FromMinutes(1)), "it waits for ever");
            return Features(1);
        });
        Assert.Equal((1, 2), (Value(first), second));
        Assert.Equal(2, Get(cache, "a", 9));
        Assert.Equal((1, 2L, 1L), (cache.Count, cache.Misses, cache.Hits));
    }

    private static ImageFeatures Features(float value) => new(full([2, 2], value, dtype: ScalarType.Float32).DetachFromDisposeScope(), 1, 2);

    private static float Get(VisionFeatureCache cache, string hash, float value)
    {
        using var features = cache.GetOrEncode(hash, () => Features(value));
        return Value(features);
    }

    private static float Value(ImageFeatures features) => features.States.data<float>().ToArray()[0];
}
