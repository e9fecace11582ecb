using MetaQuery.Farm;
using StackExchange.Redis;

namespace MetaQuery.Redis;

/// <summary>Which data folder the farm on these keys has: the id of the first head's, until Redis is emptied.</summary>
/// <remarks>A head on another folder would know none of the farm's jobs, and give their items and samples up.</remarks>
public static class RedisFolderClaim
{
    /// <summary>For who only uses a folder: it must be the farm's, where the farm has one.</summary>
    /// <param name="connection">To the farm's Redis.</param>
    /// <param name="dataFolder">As this process sees it.</param>
    /// <exception cref="OtherDataFolderException">It is not the farm's.</exception>
    /// <exception cref="FarmException">Redis does not answer, or the folder cannot be read.</exception>
    public static async Task CheckAsync(RedisConnection connection, string dataFolder)
    {
        ArgumentNullException.ThrowIfNull(connection);
        RedisValue known = await connection.RunAsync(database => database.StringGetAsync(connection.Keys.Folder));
        if (!known.IsNull && known != DataFolder.IdOf(dataFolder))
        {
            throw Other(connection, dataFolder);
        }
    }

    /// <summary>For a head: the folder becomes the farm's where the farm has none.</summary>
    /// <exception cref="OtherDataFolderException">The farm has another.</exception>
    /// <exception cref="FarmException">Redis does not answer, or the folder can be neither read nor written.</exception>
    public static async Task ClaimAsync(RedisConnection connection, DataFolder held)
    {
        ArgumentNullException.ThrowIfNull(held);
        await CheckAsync(connection, held.FullPath);
        string id = held.RequireId(); // written first: what Redis knows is always in a folder
        await connection.RunAsync(database => database.StringSetAsync(connection.Keys.Folder, id, when: When.NotExists));
        await CheckAsync(connection, held.FullPath);
    }

    private static OtherDataFolderException Other(RedisConnection connection, string dataFolder) => new(
        $"{dataFolder} is not the data folder of the farm on redis at {connection.Options.Address}, namespace {connection.Options.Namespace}, or is not mounted; name that one with --data (a farm that is to begin anew takes another --redis-namespace)");
}
