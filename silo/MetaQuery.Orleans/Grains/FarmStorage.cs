using Orleans.Runtime;

namespace MetaQuery.Orleans;

/// <summary>The grains' storage.</summary>
internal static class FarmStorage
{
    /// <summary>The provider's name: part of keys in Redis, frozen.</summary>
    public const string Name = "farm";

    /// <summary>Writes what is to be kept. Where that fails the grain goes on with what it had: told the same again, it writes it again.</summary>
    public static async Task ReplaceAsync<T>(this IPersistentState<T> state, T next)
    {
        T before = state.State;
        state.State = next;
        try
        {
            await state.WriteStateAsync();
        }
        catch
        {
            state.State = before;
            throw;
        }
    }
}
