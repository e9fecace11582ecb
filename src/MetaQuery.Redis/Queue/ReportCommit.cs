using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>A report as <c>commit.lua</c> takes it.</summary>
/// <param name="Token">The lease.</param>
/// <param name="Outcome">As <see cref="OutcomeFormat"/> writes it.</param>
/// <param name="IsInFile">Whether it names a place of the call's inbox file.</param>
internal readonly record struct ReportRow(LeaseToken Token, byte[] Outcome, bool IsInFile);

/// <summary>The step that takes a worker's reports.</summary>
internal static class ReportCommit
{
    /// <param name="connection">To Redis.</param>
    /// <param name="worker">Whose leases they are.</param>
    /// <param name="epoch">Of all of the leases.</param>
    /// <param name="call">The call's name: under the same name it is done once.</param>
    /// <param name="rows">The reports.</param>
    /// <param name="answerTime">How long Redis keeps the answer for a repeat.</param>
    /// <param name="patience">How long it is repeated.</param>
    /// <param name="cancellationToken">Ends the repeating.</param>
    /// <returns>A letter per report: 1 taken, 0 refused.</returns>
    /// <exception cref="WorkQueueException">Redis cannot be reached; whether it was done is unknown.</exception>
    public static async Task<string> RunAsync(
        RedisConnection connection, string worker, string epoch, string call, IEnumerable<ReportRow> rows, TimeSpan answerTime, TimeSpan patience,
        CancellationToken cancellationToken)
    {
        RedisKeys names = connection.Keys;
        RedisKey answer = names.Answer(call);
        var keys = new List<RedisKey> { names.Run, names.Reports, answer };
        var values = new List<RedisValue> { epoch, worker, names.ReportsWake, (long)answerTime.TotalMilliseconds, call };
        foreach (ReportRow row in rows)
        {
            values.Add(IndexOf(keys, names.Stream(row.Token.Stream), 3));
            values.Add(row.Token.Entry);
            values.Add(row.Outcome);
            values.Add(row.IsInFile ? 1 : 0);
        }

        RedisKey[] keyArray = [.. keys];
        RedisValue[] valueArray = [.. values];
        string letters = (string)(await connection.RepeatAsync(
            database => database.ScriptEvaluateAsync(LuaScripts.Commit, keyArray, valueArray), patience, cancellationToken))!;
        // the answer was only for a repeat; should this be lost, it goes by itself
        _ = connection.Database.KeyDeleteAsync(answer, CommandFlags.FireAndForget);
        return letters;
    }

    /// <summary>The place of a key among a script's streams, from 1; added where it is new.</summary>
    public static int IndexOf(List<RedisKey> keys, RedisKey key, int before)
    {
        int index = keys.IndexOf(key, before);
        if (index < 0)
        {
            index = keys.Count;
            keys.Add(key);
        }

        return index - before + 1;
    }
}
