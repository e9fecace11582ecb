using MetaQuery.Models.Checkpoints;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>
/// Where a module takes its parameters from: a checkpoint seen below a dotted prefix. It remembers what it loaded, under full
/// names, for state dictionaries and for disposal by the model.
/// </summary>
public sealed class ParameterScope
{
    private readonly WeightSource source;
    private readonly ScalarType dtype;
    private readonly Device device;
    private readonly Dictionary<string, Tensor> loaded;

    private ParameterScope(WeightSource source, string prefix, ScalarType dtype, Device device, Dictionary<string, Tensor> loaded)
    {
        (this.source, Prefix, this.dtype, this.device, this.loaded) = (source, prefix, dtype, device, loaded);
    }

    /// <summary>The dotted name of the module being loaded; empty for the model itself.</summary>
    public string Prefix { get; }

    /// <summary>Parameters by full name, as loaded.</summary>
    public IReadOnlyDictionary<string, Tensor> Loaded => loaded;

    /// <param name="source">The checkpoint.</param>
    /// <param name="dtype">What parameters are converted to.</param>
    /// <param name="device">Where they are put; the CPU if null.</param>
    public static ParameterScope Root(WeightSource source, ScalarType dtype, Device? device = null) =>
        new(source, "", dtype, device ?? CPU, new Dictionary<string, Tensor>(StringComparer.Ordinal));

    /// <summary>The scope of a submodule.</summary>
    public ParameterScope Child(string name) => new(source, FullName(name), dtype, device, loaded);

    /// <summary>The scope of a submodule that older checkpoints know under another name.</summary>
    public ParameterScope Child(string name, string formerly) =>
        Child(!source.Contains(FullName($"{name}.weight")) && source.Contains(FullName($"{formerly}.weight")) ? formerly : name);

    /// <summary>Loads one parameter.</summary>
    /// <exception cref="CheckpointException">The checkpoint lacks it, or it has another shape.</exception>
    public Tensor Load(string key, params long[] shape)
    {
        var name = FullName(key);
        var tensor = source.Load(name, shape, dtype);
        if (device.type != DeviceType.CPU)
        {
            using var here = tensor;
            tensor = here.to(device);
        }

        return Keep(name, tensor);
    }

    /// <summary>Loads one parameter in the dtype in which it is stored, for packing.</summary>
    /// <inheritdoc cref="Load"/>
    public Tensor LoadStored(string key, params long[] shape)
    {
        var name = FullName(key);
        return Keep(name, source.Load(name, shape));
    }

    // A checkpoint's tensor outlives the scope of whoever asked for it.
    private Tensor Keep(string name, Tensor tensor)
    {
        loaded.Add(name, tensor.DetachFromDisposeScope());
        return tensor;
    }

    /// <summary>Loads a convolution's weight, [outputs, inputs, height, width], stored channels last: convolutions of channels-last
    /// pictures then need not rearrange it at every call.</summary>
    /// <inheritdoc cref="Load"/>
    public Tensor LoadChannelsLast(string key, params long[] shape)
    {
        using var plain = Load(key, shape);
        loaded.Remove(FullName(key));
        using var rows = plain.permute(0, 2, 3, 1);
        using var arranged = rows.contiguous();
        return Keep(FullName(key), arranged.permute(0, 3, 1, 2));
    }

    /// <summary>Builds a model from a checkpoint; if that fails, what was loaded so far is given back.</summary>
    public static TModel Build<TModel>(WeightSource source, ScalarType dtype, Device? device, Func<ParameterScope, TModel> build)
    {
        var root = Root(source, dtype, device);
        try
        {
            return build(root);
        }
        catch
        {
            root.DisposeLoaded();
            throw;
        }
    }

    /// <summary>Gives all parameters back; the model's last act.</summary>
    public void DisposeLoaded()
    {
        foreach (var parameter in loaded.Values)
        {
            parameter.Dispose();
        }
    }

    /// <summary>Loads a parameter that a configuration may leave out.</summary>
    public Tensor? LoadIf(bool present, string key, params long[] shape) => present ? Load(key, shape) : null;

    private string FullName(string key) => Prefix.Length == 0 ? key : $"{Prefix}.{key}";
}
