using System.Collections;
using static TorchSharp.torch;

namespace TorchSharp.Modules;

/// <summary>A list of modules, named by their position.</summary>
public class ModuleList<T> : nn.Module, IList<T> where T : nn.Module
{
    readonly List<T> _list = [];

    public ModuleList(params T[] modules)
        : base(nameof(ModuleList<T>)) => extend(modules);

    public int Count => _list.Count;
    public bool IsReadOnly => false;

    public T this[int index]
    {
        get => _list[index];
        set => throw new NotSupportedException("a module of a list is not replaced: its parameters are registered");
    }

    public void Add(T item)
    {
        register_module(_list.Count.ToString(), item);
        _list.Add(item);
    }

    public void append(params T[] parameters) => extend(parameters);

    public void extend(IEnumerable<T> modules)
    {
        foreach (var module in modules) Add(module);
    }

    public bool Contains(T item) => _list.Contains(item);
    public void CopyTo(T[] array, int arrayIndex) => _list.CopyTo(array, arrayIndex);
    public int IndexOf(T item) => _list.IndexOf(item);
    public IEnumerator<T> GetEnumerator() => _list.GetEnumerator();
    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();
    public void Clear() => throw Fixed();
    public void Insert(int index, T item) => throw Fixed();
    public bool Remove(T item) => throw Fixed();
    public void RemoveAt(int index) => throw Fixed();

    static NotSupportedException Fixed() => new("modules are only appended to a list: their names are their positions");
}

/// <summary>Modules run one after the other.</summary>
public class Sequential : nn.Module<Tensor, Tensor>
{
    readonly List<nn.Module<Tensor, Tensor>> _steps = [];

    internal Sequential(IEnumerable<(string name, nn.Module<Tensor, Tensor> module)> modules)
        : base(nameof(Sequential))
    {
        foreach (var (name, module) in modules)
        {
            register_module(name, module);
            _steps.Add(module);
        }
    }

    public override Tensor forward(Tensor tensor)
    {
        using var scope = NewDisposeScope();
        var x = tensor.alias();
        foreach (var step in _steps) x = step.call(x);
        return x.MoveToOuterDisposeScope();
    }
}
