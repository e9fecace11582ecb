using System.Collections.Concurrent;
using System.Text.Json;
using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>Who is there, in Redis: a hash per worker that goes when it is silent for long. Thread-safe.</summary>
/// <remarks>What was lost with a server that came back empty is put there again: a worker joins again with its next word, the head states the model again.</remarks>
/// <param name="connection">To Redis.</param>
/// <param name="silence">How long a worker may be silent before it counts as gone: a lease's time.</param>
public sealed class RedisWorkerRegistry(RedisConnection connection, TimeSpan silence) : IWorkerRegistry
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    private static readonly WorkerStatus Unknown = new(WorkerState.Running, [], 0, 0, 0, 0, 0, new ConditionCacheCounters(0, 0, 0, 0, 0, 0, 0, 0));

    private readonly RedisKeys _keys = connection.Keys;
    private readonly ConcurrentDictionary<string, WorkerInfo> _joined = new(StringComparer.Ordinal);
    private (string Images, string Conditions) _required = ("", "");

    // a worker that was stopped for a while and comes back is still the one that was asked to drain
    private long RememberMilliseconds => (long)(silence * 4).TotalMilliseconds;

    public async ValueTask JoinAsync(WorkerInfo worker, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(worker);
        await JoinAsync(worker, Unknown, cancellationToken);
        _joined[worker.Id] = worker;
    }

    /// <exception cref="WorkQueueException">The worker has not joined, or has left; or Redis cannot be reached.</exception>
    public async ValueTask<bool> HeartbeatAsync(string worker, WorkerStatus status, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(status);
        string text = JsonSerializer.Serialize(status, WorkerJson.Default.WorkerStatus);
        var answer = (int)await RepeatAsync(
            LuaScripts.Heartbeat, [_keys.Workers, _keys.Worker(worker)], [worker, text, RememberMilliseconds], cancellationToken);
        if (answer >= 0)
        {
            return answer == 1;
        }

        if (!_joined.TryGetValue(worker, out WorkerInfo? info))
        {
            throw new WorkQueueException($"worker {worker} is not known to redis at {connection.Options.Address}: it must join first");
        }

        await JoinAsync(info, status, cancellationToken);
        return false;
    }

    public async ValueTask LeaveAsync(string worker, CancellationToken cancellationToken)
    {
        _joined.TryRemove(worker, out _);
        await connection.RepeatAsync(database => database.KeyDeleteAsync(_keys.Worker(worker)), Patience, cancellationToken);
        await connection.RepeatAsync(database => database.SetRemoveAsync(_keys.Workers, worker), Patience, cancellationToken);
    }

    /// <summary>Those that were heard of within the silence allowed, oldest first.</summary>
    public async ValueTask<IReadOnlyList<WorkerView>> ListAsync(CancellationToken cancellationToken)
    {
        (string images, string conditions) = _required;
        var answer = (RedisResult[])(await RepeatAsync(
            LuaScripts.Workers, [_keys.Model, _keys.Workers], [_keys.WorkerPrefix, images, conditions], cancellationToken))!;
        var views = new List<WorkerView>(answer.Length / 3);
        for (int i = 0; i < answer.Length; i += 3)
        {
            if (Read((string)answer[i]!, (string)answer[i + 1]!) is { } worker)
            {
                views.Add(new WorkerView(worker.Info, worker.Status, TimeSpan.FromMilliseconds((long)answer[i + 2])));
            }
        }

        return [.. views.Where(view => view.SinceHeartbeat <= silence).OrderBy(view => view.Info.StartedAt).ThenBy(view => view.Info.Id, StringComparer.Ordinal)];
    }

    public async ValueTask<bool> DrainAsync(string worker, CancellationToken cancellationToken) =>
        (int)await RepeatAsync(LuaScripts.Drain, [_keys.Worker(worker)], [], cancellationToken) == 1;

    /// <summary>Holds for workers that join from now on.</summary>
    public async ValueTask RequireModelAsync(string modelRevision, string conditionRevision, CancellationToken cancellationToken)
    {
        ArgumentException.ThrowIfNullOrEmpty(modelRevision);
        ArgumentException.ThrowIfNullOrEmpty(conditionRevision);
        _required = (modelRevision, conditionRevision);
        await ListAsync(cancellationToken); // which states them
    }

    /// <returns>Null for the words of a program that is not this one's like: its worker is none for this head, and must not end it.</returns>
    private static (WorkerInfo Info, WorkerStatus Status)? Read(string info, string status)
    {
        try
        {
            return JsonSerializer.Deserialize(info, WorkerJson.Default.WorkerInfo) is { Id: not null, Images: not null, Conditions: not null } known
                && JsonSerializer.Deserialize(status, WorkerJson.Default.WorkerStatus) is { Slots: not null } now ? (known, now) : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    private async Task JoinAsync(WorkerInfo worker, WorkerStatus status, CancellationToken cancellationToken)
    {
        RedisKey[] keys = [_keys.Model, _keys.Workers, _keys.Worker(worker.Id)];
        RedisValue[] values =
        [
            worker.Id, worker.Images.ModelRevision, worker.Conditions.ModelRevision, JsonSerializer.Serialize(worker, WorkerJson.Default.WorkerInfo),
            JsonSerializer.Serialize(status, WorkerJson.Default.WorkerStatus), RememberMilliseconds,
        ];
        var required = (string[])(await RepeatAsync(LuaScripts.Join, keys, values, cancellationToken))!;
        if (required is [var images, var conditions])
        {
            Require("image model", worker.Images.ModelRevision, images);
            Require("condition model", worker.Conditions.ModelRevision, conditions);
        }

        void Require(string what, string theirs, string ours)
        {
            if (theirs != ours)
            {
                throw new ModelMismatchException($"worker {worker.Id} has the {what} of revision {theirs}, the head's jobs are for revision {ours}: start it with the head's model");
            }
        }
    }

    private Task<RedisResult> RepeatAsync(string script, RedisKey[] keys, RedisValue[] values, CancellationToken cancellationToken) =>
        connection.RepeatAsync(database => database.ScriptEvaluateAsync(script, keys, values), Patience, cancellationToken);
}
