namespace MetaQuery.Orleans;

/// <summary>The grains' storage.</summary>
public static class FarmStorage
{
    /// <summary>The provider's name: part of keys in Redis, frozen.</summary>
    public const string Name = "farm";
}
