using MetaQuery.TestKit;

namespace MetaQuery.Redis.Tests;

/// <summary>Puts into Redis what a later version of the farm would.</summary>
internal static class Foreign
{
    /// <summary>An item of version 9.</summary>
    public const string Bytes = "\u0009 a work item to come";

    /// <summary>Behind a stream's last item, which must be there still.</summary>
    /// <returns>False where the stream is empty.</returns>
    public static bool AddItem(RealRedis redis, TestFarm farm, string stream) => redis.Command(
        "EVAL",
        """
        local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
        if not last[1] then return 0 end
        redis.call('XADD', KEYS[1], (string.gsub(last[1][1], '%-0$', '-1')), 'i', ARGV[1], 'j', '')
        return 1
        """,
        "1", farm.Key(stream), Bytes) is 1L;

    public static void AddReport(RealRedis redis, TestFarm farm, string item, string outcome) => Assert.Equal(1L, redis.Command(
        "EVAL", "local item = ARGV[1]\n" + Report, "2", farm.Key("run"), farm.Key("reports"), item, outcome));

    /// <summary>On the first item of a stream, which must be there still.</summary>
    public static void AddReportOnFirstItem(RealRedis redis, TestFarm farm, string stream, string outcome) => Assert.Equal(1L, redis.Command(
        "EVAL", "local item = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1][2][2]\n" + Report,
        "3", farm.Key("run"), farm.Key("reports"), farm.Key(stream), "", outcome));

    private const string Report = """
        local number = redis.call('HINCRBY', KEYS[1], 'reported', 1)
        redis.call('XADD', KEYS[2], number .. '-0', 'i', item, 'w', 'w9', 'o', ARGV[2], 'z', '0', 'c', 'call' .. number)
        return 1
        """;
}
