namespace MetaQuery.Pipelines;

/// <summary>Something that is made when it is first asked for, by one thread at a time; where that fails, the next who asks tries again.</summary>
/// <remarks><see cref="Lazy{T}"/> keeps the exception for ever, or lets several threads make one each.</remarks>
internal sealed class LoadedOnce<T>(Func<T> load)
{
    private readonly Lock _gate = new();
    private T? _value;
    private volatile bool _isLoaded;

    public bool IsLoaded => _isLoaded;

    public T Value
    {
        get
        {
            if (!_isLoaded)
            {
                lock (_gate)
                {
                    if (!_isLoaded)
                        _value = load();
                    _isLoaded = true;
                }
            }

            return _value!;
        }
    }
}
