using System.Runtime.CompilerServices;

namespace TorchSharp;

/// <summary>
/// Disposes on leaving whatever tensors were made inside it on the same thread, except those moved out
/// (<see cref="torch.Tensor.MoveToOuterDisposeScope"/>) or detached. Scopes nest.
/// </summary>
public sealed class DisposeScope : IDisposable
{
    DisposeScopeManager? _manager;

    internal DisposeScope(DisposeScopeManager manager) => (_manager, OuterScope) = (manager, manager.CurrentDisposeScope);

    internal DisposeScope? OuterScope { get; set; }

    internal HashSet<IDisposable> Disposables { get; private set; } = new(ReferenceEqualityComparer.Instance);

    /// <summary>What the scope holds at this moment.</summary>
    public IReadOnlyList<IDisposable> DisposablesView => [.. Alive().Disposables];

    public int DisposablesCount => Alive().Disposables.Count;

    public T MoveToOuter<T>(T disposable) where T : IDisposable
    {
        MoveToOther(OuterScope, disposable);
        return disposable;
    }

    public (T1 first, T2 second) MoveToOuter<T1, T2>(T1 first, T2 second) where T1 : IDisposable where T2 : IDisposable
    {
        MoveToOther(OuterScope, first, second);
        return (first, second);
    }

    public (T1 first, T2 second, T3 third) MoveToOuter<T1, T2, T3>(T1 first, T2 second, T3 third)
        where T1 : IDisposable where T2 : IDisposable where T3 : IDisposable
    {
        MoveToOther(OuterScope, first, second, third);
        return (first, second, third);
    }

    public void MoveToOuter(params IDisposable[] disposables) => MoveToOther(OuterScope, disposables);

    public void MoveToOuter(IEnumerable<IDisposable> disposables) => MoveToOther(OuterScope, disposables);

    public void MoveToOther(DisposeScope? scope, params IDisposable[] disposables) => MoveToOther(scope, (IEnumerable<IDisposable>)disposables);

    public void MoveToOther(DisposeScope? scope, IEnumerable<IDisposable> disposables)
    {
        Alive();
        foreach (var disposable in disposables)
        {
            if (!Disposables.Remove(disposable)) continue;
            if (disposable is torch.Tensor tensor) tensor.OwningDisposeScope = scope;
            if (scope is not null) scope.Disposables.Add(disposable);
            else _manager!.Tensors.DetachedFromScopeCount++;
        }
    }

    /// <summary>Takes a disposable out of every scope: the caller owns it.</summary>
    public T Detach<T>(T disposable) where T : IDisposable
    {
        MoveToOther(null, disposable);
        return disposable;
    }

    public (T1 first, T2 second) Detach<T1, T2>(T1 first, T2 second) where T1 : IDisposable where T2 : IDisposable
    {
        MoveToOther(null, first, second);
        return (first, second);
    }

    public void Detach(params IDisposable[] disposables) => MoveToOther(null, disposables);

    public void Detach(IEnumerable<IDisposable> disposables) => MoveToOther(null, disposables);

    public void Attach(params IDisposable[] disposables) => Attach((IEnumerable<IDisposable>)disposables);

    public IReadOnlyList<IDisposable> Attach(IEnumerable<IDisposable> disposables)
    {
        Alive();
        var attached = disposables.ToList();
        foreach (var disposable in attached)
        {
            if (disposable is torch.Tensor tensor)
            {
                if (tensor.OwningDisposeScope == this) continue;
                tensor.OwningDisposeScope?.Disposables.Remove(tensor);
                tensor.OwningDisposeScope = this;
                _manager!.Tensors.AttachedToScopeCount++;
            }
            Disposables.Add(disposable);
        }
        return attached;
    }

    public void DisposeEverything() => DisposeEverythingBut([]);

    public void DisposeEverythingBut(params IDisposable[] keep) => DisposeEverythingBut((IEnumerable<IDisposable>)keep);

    /// <summary>Disposes what the scope holds by now, except <paramref name="inKeep"/>; the scope goes on.</summary>
    public void DisposeEverythingBut(IEnumerable<IDisposable> inKeep)
    {
        Alive();
        var old = Disposables;
        Disposables = new HashSet<IDisposable>(inKeep, ReferenceEqualityComparer.Instance);
        foreach (var disposable in old)
            if (!Disposables.Contains(disposable)) disposable.Dispose();
    }

    public T DisposeEverythingBut<T>(T keep) where T : IDisposable
    {
        DisposeEverythingBut((IEnumerable<IDisposable>)[keep]);
        return keep;
    }

    public bool Contains(IDisposable disposable) => Disposables.Contains(disposable);

    internal void Forget(IDisposable disposable) => Disposables.Remove(disposable);

    /// <exception cref="InvalidOperationException">Another thread opened this scope, or an inner scope is still open.</exception>
    public void Dispose()
    {
        if (_manager is null) return;
        DisposeEverything();
        _manager.Remove(this);
        _manager = null;
    }

    DisposeScope Alive([CallerMemberName] string member = "") =>
        _manager is null ? throw new ObjectDisposedException(nameof(DisposeScope), $"{member} after the scope was left") : this;
}

/// <summary>The scopes of one thread.</summary>
public sealed class DisposeScopeManager
{
    [ThreadStatic] static DisposeScopeManager? _ofThisThread;

    readonly List<DisposeScope> _scopes = [];

    internal static DisposeScopeManager ThreadSingleton => _ofThisThread ??= new DisposeScopeManager();

    internal LifetimeStatistics Tensors => StatisticsInstance.TensorStatistics;

    ThreadDisposeScopeStatistics StatisticsInstance { get; } = new();

    /// <summary>What this thread made and disposed, for finding leaks.</summary>
    public static ThreadDisposeScopeStatistics Statistics => ThreadSingleton.StatisticsInstance;

    internal DisposeScope? CurrentDisposeScope => _scopes.Count > 0 ? _scopes[^1] : null;

    internal DisposeScope? Register(torch.Tensor tensor)
    {
        if (CurrentDisposeScope is not { } scope)
        {
            Tensors.CreatedOutsideScopeCount++;
            return null;
        }
        Tensors.CreatedInScopeCount++;
        scope.Disposables.Add(tensor);
        return scope;
    }

    internal static DisposeScope NewDisposeScope()
    {
        var manager = ThreadSingleton;
        var scope = new DisposeScope(manager);
        manager._scopes.Add(scope);
        return scope;
    }

    internal void Remove(DisposeScope scope)
    {
        if (!ReferenceEquals(this, ThreadSingleton)) throw new InvalidOperationException("a dispose scope must be left on the thread that opened it");
        if (!ReferenceEquals(CurrentDisposeScope, scope)) throw new InvalidOperationException("an inner dispose scope is still open");
        _scopes.RemoveAt(_scopes.Count - 1);
    }
}

/// <summary>Counts of objects made and disposed on one thread.</summary>
public sealed class LifetimeStatistics
{
    public long CreatedOutsideScopeCount { get; internal set; }
    public long DisposedOutsideScopeCount { get; internal set; }
    public long CreatedInScopeCount { get; internal set; }
    public long DisposedInScopeCount { get; internal set; }
    public long AttachedToScopeCount { get; internal set; }
    public long DetachedFromScopeCount { get; internal set; }

    /// <summary>Made minus disposed; a tensor that another thread disposes counts there.</summary>
    public long ThreadTotalLiveCount =>
        CreatedInScopeCount - DisposedInScopeCount + CreatedOutsideScopeCount - DisposedOutsideScopeCount;

    public void Reset() => CreatedOutsideScopeCount = DisposedOutsideScopeCount = CreatedInScopeCount = DisposedInScopeCount =
        AttachedToScopeCount = DetachedFromScopeCount = 0;
}

/// <summary>The statistics of one thread.</summary>
public sealed class ThreadDisposeScopeStatistics
{
    public LifetimeStatistics TensorStatistics { get; } = new();

    public long ThreadTotalLiveCount => TensorStatistics.ThreadTotalLiveCount;

    public void Reset() => TensorStatistics.Reset();
}

public static partial class torch
{
    /// <summary>Opens a scope on this thread; leave it with <c>using</c>.</summary>
    public static DisposeScope NewDisposeScope() => DisposeScopeManager.NewDisposeScope();

    public static DisposeScope? CurrentDisposeScope => DisposeScopeManager.ThreadSingleton.CurrentDisposeScope;

    /// <summary>Runs an expression in a scope of its own and moves its result out.</summary>
    public static Tensor WrappedTensorDisposeScope(Func<Tensor> expr)
    {
        using var scope = NewDisposeScope();
        return expr().MoveToOuterDisposeScope();
    }
}
