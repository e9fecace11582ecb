using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>Names of keys and channels; docs/redis.md lists them. Frozen by a test.</summary>
/// <remarks>The braces are a hash tag: in a Redis cluster all keys of a namespace lie on one node, where scripts can reach them together.</remarks>
internal sealed class RedisKeys(string name)
{
    /// <summary>The head's own consumer: a worker's name never begins like this.</summary>
    public const string HeadConsumer = "#head";

    public const string Group = "w";

    public string Prefix { get; } = $"mq:{{{name}}}:";

    public RedisKey Run => Prefix + "run";
    public RedisKey Queues => Prefix + "queues";
    public RedisKey Reports => Prefix + "reports";
    public RedisKey Model => Prefix + "model";
    public RedisKey Folder => Prefix + "folder";
    public RedisKey Workers => Prefix + "workers";
    public RedisKey ConditionUse => Prefix + "conditions:use";
    public RedisKey ConditionSizes => Prefix + "conditions:sizes";
    public string ConditionPrefix => Prefix + "c:";
    public string WakePrefix => Prefix + "wake:";
    public string ReportsWake => WakePrefix + "reports";
    public string Withdrawn => Prefix + "withdrawn";

    public RedisKey Stream(string shortName) => Prefix + shortName;

    public RedisKey Answer(string call) => Prefix + "answer:" + call;

    public string WorkerPrefix => Prefix + "worker:";

    public RedisKey Worker(string id) => WorkerPrefix + id;

    public RedisKey Flight(ConditionKey key) => Prefix + "f:" + key;

    public static string RoleName(WorkRoles role) => role switch
    {
        WorkRoles.Mllm => "mllm",
        WorkRoles.Dit => "dit",
        _ => throw new ArgumentException($"{role} is not one role", nameof(role)),
    };

    public static string Queue(string lane, WorkRoles role, JobPriority priority) =>
        $"q:{lane}:{RoleName(role)}:{(priority == JobPriority.Interactive ? "interactive" : "bulk")}";

    public static string Alone(string lane, WorkRoles role) => $"alone:{lane}:{RoleName(role)}";

    public static string QueueOf(string lane, WorkItem item) => item.RunsAlone ? Alone(lane, item.Role) : Queue(lane, item.Role, item.Priority);

    /// <summary>All streams of a lane and a role.</summary>
    public static IReadOnlyList<string> QueuesOf(string lane, WorkRoles role) =>
        [Queue(lane, role, JobPriority.Interactive), Queue(lane, role, JobPriority.Bulk), Alone(lane, role)];

    /// <summary>What the workers of a lane and a role listen for.</summary>
    public static string WakeName(string lane, WorkRoles role) => $"{lane}:{RoleName(role)}";
}
