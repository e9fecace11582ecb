using MetaQuery.Farm;
using MetaQuery.Kernels;
using MetaQuery.Pipelines;

namespace MetaQuery.Silo;

/// <summary>A model's two halves in memory: both at once, or one at a time where memory holds no more.</summary>
/// <remarks>Thread-safe: slots share the halves. Whoever waits for the other half gets it before others come back to the one that is there.</remarks>
internal sealed class ModelHalves : IDisposable
{
    private const int WaitMilliseconds = 200; // after which a wait looks whether it was cancelled

    private readonly object _gate = new();
    private readonly Half<LoadedText> _text;
    private readonly Half<ImageModel> _image;
    private bool _isLoading; // outside the lock, so that who waits can be cancelled

    /// <param name="loadText">Null where this process does not encode.</param>
    /// <param name="loadImage">Null where this process does not denoise.</param>
    /// <param name="alternates">Whether only one half is held at a time, and loaded when it is first used; otherwise the caller loads by <see cref="LoadAll"/>.</param>
    public ModelHalves(Func<TextModel>? loadText, Func<ImageModel>? loadImage, bool alternates)
    {
        Alternates = alternates;
        _text = new Half<LoadedText>(loadText is null ? null : () => new LoadedText(loadText()));
        _image = new Half<ImageModel>(loadImage);
    }

    public bool Alternates { get; }

    public bool HasText => _text.CanLoad;

    public bool HasImage => _image.CanLoad;

    public bool HoldsBoth
    {
        get
        {
            lock (_gate)
            {
                return _text.Value is not null && _image.Value is not null;
            }
        }
    }

    public long PicturePasses
    {
        get
        {
            lock (_gate)
            {
                return _text.Value?.PicturePasses ?? 0;
            }
        }
    }

    /// <summary>The language model as it answers in text; null where it is not loaded, or does not stay.</summary>
    public ChatModel? Chat
    {
        get
        {
            lock (_gate)
            {
                return Alternates ? null : _text.Value?.Chat;
            }
        }
    }

    /// <summary>How often each half was loaded.</summary>
    public HalfLoads Loads
    {
        get
        {
            lock (_gate)
            {
                return new HalfLoads(_text.Loads, _image.Loads);
            }
        }
    }

    /// <summary>Loads what this process needs, side by side.</summary>
    public void LoadAll()
    {
        Task[] loading = [Task.Run(_text.Load), Task.Run(_image.Load)];
        try
        {
            Task.WhenAll(loading).GetAwaiter().GetResult();
        }
        catch
        {
            Task.WhenAll(loading).ContinueWith(static _ => { }, TaskScheduler.Default).GetAwaiter().GetResult();
            Dispose();
            throw;
        }

        TorchRuntime.ReturnFreedMemory(); // conversions leave large blocks behind
    }

    /// <summary>Runs what needs the half that makes conditions; waits for it, and loads it where it is not there.</summary>
    /// <param name="use">Is given the half, and what it calls with each sign of progress.</param>
    /// <param name="progress">Called with each of these, and while it waits with each of the other half's.</param>
    /// <exception cref="HalfBusyException">Cancelled while it waited or loaded: nothing was computed.</exception>
    public T Encode<T>(Func<ConditionEncoder, Action, T> use, Action? progress, CancellationToken cancellationToken) =>
        Use(_text, _image, (text, sign) => use(text.Encoder, sign), progress, cancellationToken);

    /// <summary>Runs what needs the half that makes pictures; waits for it, and loads it where it is not there.</summary>
    /// <inheritdoc cref="Encode"/>
    public T Denoise<T>(Func<ImageModel, Action, T> use, Action? progress, CancellationToken cancellationToken) => Use(_image, _text, use, progress, cancellationToken);

    public void Dispose()
    {
        _text.Release();
        _image.Release();
    }

    private T Use<TWanted, TOther, T>(Half<TWanted> wanted, Half<TOther> other, Func<TWanted, Action, T> use, Action? progress, CancellationToken cancellationToken)
        where TWanted : class, IDisposable
        where TOther : class, IDisposable
    {
        lock (_gate)
        {
            Enter(wanted, other, progress, cancellationToken);
        }

        try
        {
            return use(wanted.Value!, Sign);
        }
        finally
        {
            lock (_gate)
            {
                wanted.Users--;
                wanted.Sign();
                Monitor.PulseAll(_gate);
            }
        }

        void Sign()
        {
            wanted.Sign();
            progress?.Invoke();
        }
    }

    private void Enter<TWanted, TOther>(Half<TWanted> wanted, Half<TOther> other, Action? progress, CancellationToken cancellationToken)
        where TWanted : class, IDisposable
        where TOther : class, IDisposable
    {
        if (Alternates)
        {
            Await(wanted, other, progress, cancellationToken);
            if (wanted.Value is null)
            {
                Load(wanted, other);
                if (cancellationToken.IsCancellationRequested)
                {
                    throw new HalfBusyException(cancellationToken); // the half stays for whoever comes next
                }
            }
        }

        wanted.Users++;
        wanted.Sign();
    }

    private void Await<TWanted, TOther>(Half<TWanted> wanted, Half<TOther> other, Action? progress, CancellationToken cancellationToken)
        where TWanted : class, IDisposable
        where TOther : class, IDisposable
    {
        wanted.Waiting++;
        long signs = other.Signs;
        try
        {
            while (_isLoading || (wanted.Value is null ? other.Users > 0 : other.Waiting > 0)) // also where nobody uses it: who waits was woken, and has not run yet
            {
                Monitor.Wait(_gate, WaitMilliseconds);
                if (cancellationToken.IsCancellationRequested)
                {
                    throw new HalfBusyException(cancellationToken);
                }

                if (signs != other.Signs)
                {
                    signs = other.Signs; // who waits for a half that gets on is not stuck, however long it takes
                    progress?.Invoke();
                }
            }
        }
        finally
        {
            wanted.Waiting--;
        }
    }

    /// <summary>Called with the lock held, which is free while it loads.</summary>
    private void Load<TWanted, TOther>(Half<TWanted> wanted, Half<TOther> other)
        where TWanted : class, IDisposable
        where TOther : class, IDisposable
    {
        bool wasOther = other.Value is not null;
        other.Release();
        TWanted? loaded = null;
        _isLoading = true;
        Monitor.Exit(_gate);
        try
        {
            if (wasOther)
            {
                TorchRuntime.ReturnFreedMemory();
            }

            loaded = wanted.Create();
            TorchRuntime.ReturnFreedMemory();
        }
        finally
        {
            Monitor.Enter(_gate);
            _isLoading = false;
            wanted.Keep(loaded);
            Monitor.PulseAll(_gate);
        }
    }

    /// <summary>MLLM, queries and connector, and what computes with them.</summary>
    private sealed class LoadedText(TextModel model) : IDisposable
    {
        public ConditionEncoder Encoder { get; } = new(model.Model, model.Prompt);

        public ChatModel Chat => model.Chat;

        public long PicturePasses => model.Model.PicturePasses;

        public void Dispose()
        {
            Encoder.Dispose();
            model.Dispose();
        }
    }

    private sealed class Half<T>(Func<T>? load)
        where T : class, IDisposable
    {
        private long _signs;

        public bool CanLoad => load is not null;

        public T? Value { get; private set; }

        public int Users { get; set; }

        public int Waiting { get; set; }

        /// <summary>Grows with each sign of progress of those who use it.</summary>
        public long Signs => Volatile.Read(ref _signs);

        public void Sign() => Interlocked.Increment(ref _signs);

        public long Loads { get; private set; }

        public void Load() => Keep(Create());

        public T? Create() => load?.Invoke();

        public void Keep(T? loaded)
        {
            Value = loaded;
            Loads += loaded is null ? 0 : 1;
        }

        public void Release()
        {
            Value?.Dispose();
            Value = null;
        }
    }
}

/// <summary>How often a process loaded each half of its model.</summary>
/// <param name="Text">The half that makes conditions.</param>
/// <param name="Image">The half that makes pictures.</param>
public sealed record HalfLoads(long Text, long Image);
