using System.Collections;
using System.Reflection;
using TorchSharp.Modules;
using TorchSharp.Utils;

namespace TorchSharp;

public static partial class torch
{
    public static partial class nn
    {
        /// <summary>
        /// A part of a network: it owns parameters, buffers and other modules. A derived class names them as fields and calls
        /// <see cref="RegisterComponents"/> at the end of its constructor; the dotted names of <see cref="state_dict"/> follow.
        /// </summary>
        public class Module : IDisposable
        {
            readonly List<(string name, Module module)> _modules = [];
            readonly List<(string name, Parameter parameter)> _parameters = [];
            readonly List<(string name, Tensor buffer, bool persistent)> _buffers = [];
            bool _registered, _disposed;

            protected string? name;

            protected Module(string name) => this.name = name;

            public virtual string GetName() => name ?? GetType().Name;

            /// <summary>True while training: dropout is active.</summary>
            public virtual bool training { get; private set; } = true;

            public virtual void train(bool train = true)
            {
                training = train;
                foreach (var (_, module) in named_children()) module.train(train);
            }

            public virtual void eval() => train(false);

            /// <summary>Registers every field that holds a module, a parameter or a tensor (as a buffer).</summary>
            protected virtual void RegisterComponents()
            {
                if (_registered) return;
                _registered = true;
                var fields = new List<FieldInfo>();
                for (var type = GetType(); type is not null && type != typeof(Module); type = type.BaseType)
                    fields.InsertRange(0, type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly));
                foreach (var field in fields)
                {
                    var component = field.GetCustomAttribute<ComponentNameAttribute>()?.Name ?? field.Name;
                    if (component.StartsWith('<')) continue; // an automatic property's field
                    if (_modules.Exists(m => m.name == component) || _parameters.Exists(p => p.name == component) || _buffers.Exists(b => b.name == component)) continue;
                    switch (field.GetValue(this))
                    {
                        case Module module: register_module(component, module); break;
                        case Parameter parameter: register_parameter(component, parameter); break;
                        case Tensor tensor: register_buffer(component, tensor); break;
                    }
                }
            }

            /// <exception cref="ArgumentException">An empty name, or one with a dot.</exception>
            /// <exception cref="InvalidOperationException">The name is taken.</exception>
            public virtual void register_module(string name, Module submodule)
            {
                ArgumentNullException.ThrowIfNull(submodule);
                CheckName(name);
                if (_modules.Exists(m => m.name == name)) throw new InvalidOperationException($"module '{name}' is registered already");
                submodule.RegisterComponents();
                _modules.Add((name, submodule));
            }

            public void add_module(string name, Module module) => register_module(name, module);

            public virtual void register_parameter(string name, Parameter param)
            {
                ArgumentNullException.ThrowIfNull(param);
                CheckName(name);
                if (_parameters.Exists(p => p.name == name)) throw new InvalidOperationException($"parameter '{name}' is registered already");
                param.DetachFromDisposeScope();
                _parameters.Add((name, param));
            }

            public virtual void register_buffer(string name, Tensor tensor, bool persistent = true)
            {
                ArgumentNullException.ThrowIfNull(tensor);
                CheckName(name);
                if (_buffers.Exists(b => b.name == name)) throw new InvalidOperationException($"buffer '{name}' is registered already");
                tensor.DetachFromDisposeScope();
                _buffers.Add((name, tensor, persistent));
            }

            static void CheckName(string name)
            {
                if (string.IsNullOrEmpty(name) || name.Contains('.', StringComparison.Ordinal))
                    throw new ArgumentException($"'{name}' cannot name a component: it must not be empty nor hold a dot", nameof(name));
            }

            public virtual IEnumerable<(string name, Module module)> named_children() => _modules;

            public virtual IEnumerable<Module> children() => named_children().Select(child => child.module);

            /// <summary>All modules below this one, with dotted names.</summary>
            public virtual IEnumerable<(string name, Module module)> named_modules() =>
                _modules.SelectMany(child => child.module.named_modules().Select(below => ($"{child.name}.{below.name}", below.module)).Prepend(child));

            public virtual IEnumerable<Module> modules() => named_modules().Select(named => named.module);

            public virtual IEnumerable<(string name, Parameter parameter)> named_parameters(bool recurse = true)
            {
                var all = recurse
                    ? _parameters.Concat(_modules.SelectMany(m => m.module.named_parameters().Select(p => ($"{m.name}.{p.name}", p.parameter))))
                    : _parameters;
                return all.DistinctBy(p => p.Item2, ReferenceEqualityComparer.Instance);
            }

            public virtual IEnumerable<Parameter> parameters(bool recurse = true) => named_parameters(recurse).Select(p => p.parameter);

            public virtual IEnumerable<(string name, Tensor buffer)> named_buffers(bool recurse = true, bool include_nonpersistent = true)
            {
                var own = _buffers.Where(b => b.persistent || include_nonpersistent).Select(b => (b.name, b.buffer));
                var all = recurse
                    ? own.Concat(_modules.SelectMany(m => m.module.named_buffers(true, include_nonpersistent).Select(b => ($"{m.name}.{b.name}", b.buffer))))
                    : own;
                return all.DistinctBy(b => b.Item2, ReferenceEqualityComparer.Instance);
            }

            public virtual IEnumerable<Tensor> buffers(bool recurse = true, bool include_nonpersistent = true) =>
                named_buffers(recurse, include_nonpersistent).Select(b => b.buffer);

            public virtual bool has_parameter(string target) => get_parameter(target) is not null;

            public virtual Parameter? get_parameter(string target) => named_parameters().FirstOrDefault(p => p.name == target).parameter;

            public virtual bool has_buffer(string target) => get_buffer(target) is not null;

            public virtual Tensor? get_buffer(string target) => named_buffers().FirstOrDefault(b => b.name == target).buffer;

            public virtual Module apply(Action<Module> fn)
            {
                foreach (var (_, module) in _modules) module.apply(fn);
                fn(this);
                return this;
            }

            public virtual void zero_grad(bool set_to_none = true)
            {
                foreach (var parameter in parameters())
                {
                    using var gradient = parameter.grad;
                    if (gradient is null) continue;
                    if (set_to_none) parameter.grad = null;
                    else gradient.zero_();
                }
            }

            /// <summary>Parameters and persistent buffers by dotted name; the module's own tensors, not copies.</summary>
            public virtual Dictionary<string, Tensor> state_dict(Dictionary<string, Tensor>? destination = null, string? prefix = null)
            {
                destination ??= [];
                var start = string.IsNullOrEmpty(prefix) ? "" : prefix + ".";
                foreach (var (key, parameter) in AllParameters()) destination.TryAdd(start + key, parameter);
                foreach (var (key, buffer) in named_buffers(include_nonpersistent: false)) destination.TryAdd(start + key, buffer);
                return destination;
            }

            // A parameter that two modules share stands under both names.
            IEnumerable<(string, Parameter)> AllParameters() =>
                _parameters.Concat(_modules.SelectMany(m => m.module.AllParameters().Select(p => ($"{m.name}.{p.Item1}", p.Item2))));

            /// <summary>Copies values in, converted to each parameter's own type.</summary>
            /// <exception cref="InvalidOperationException">Strict, and keys are missing or unexpected: the message names them.</exception>
            /// <exception cref="TorchException">A shape differs.</exception>
            public virtual (IList<string> missing_keys, IList<string> unexpected_keyes) load_state_dict(Dictionary<string, Tensor> source, bool strict = true, IList<string>? skip = null)
            {
                var destination = state_dict();
                bool Skipped(string key) => skip?.Contains(key) == true;
                var unexpected = source.Keys.Where(key => !Skipped(key) && !destination.ContainsKey(key)).ToList();
                var missing = destination.Keys.Where(key => !Skipped(key) && !source.ContainsKey(key)).ToList();
                if (strict && missing.Count + unexpected.Count > 0)
                    throw new InvalidOperationException($"{GetName()}: missing keys [{string.Join(", ", missing)}], unexpected keys [{string.Join(", ", unexpected)}]");
                using var mode = no_grad();
                foreach (var (key, value) in source)
                {
                    if (Skipped(key) || !destination.TryGetValue(key, out var own)) continue;
                    if (!own.shape.SequenceEqual(value.shape))
                        throw new TorchException($"{GetName()}: '{key}' is [{string.Join(", ", value.shape)}], the module's is [{string.Join(", ", own.shape)}]");
                    own.copy_(value);
                }
                return (missing, unexpected);
            }

            internal Module Move(Device? device, ScalarType? dtype, bool non_blocking)
            {
                if (dtype is { } asked && !torch.is_floating_point(asked))
                    throw new ArgumentException($"a module moves to a floating-point type, not to {asked}", nameof(dtype));
                using var mode = no_grad();
                foreach (var tensor in parameters().Cast<Tensor>().Concat(buffers()))
                {
                    var type = dtype is { } t && tensor.is_floating_point() ? t : tensor.dtype;
                    var target = device ?? tensor.device;
                    if (type == tensor.dtype && target.Packed == tensor.device.Packed) continue;
                    var requires = tensor.requires_grad;
                    using var gradient = tensor.grad;
                    var moved = tensor.to(type, target, non_blocking: non_blocking).DetachFromDisposeScope();
                    moved.requires_grad = requires;
                    tensor.TakeOver(moved);
                    if (gradient is null) continue;
                    using var movedGradient = gradient.to(type, target);
                    tensor.grad = movedGradient;
                }
                return this;
            }

            ~Module() => Dispose(false);

            public void Dispose()
            {
                Dispose(true);
                GC.SuppressFinalize(this);
            }

            /// <summary>Disposes parameters, buffers and the modules below.</summary>
            protected virtual void Dispose(bool disposing)
            {
                if (!disposing || _disposed) return;
                _disposed = true;
                foreach (var (_, parameter) in _parameters) parameter.Dispose();
                foreach (var (_, buffer, _) in _buffers) buffer.Dispose();
                foreach (var (_, module) in _modules) module.Dispose();
            }
        }

        /// <summary>A module that makes a result from one input.</summary>
        public interface IModule<T, TResult>
        {
            TResult call(T input1);
        }

        /// <inheritdoc cref="IModule{T, TResult}"/>
        public abstract class Module<T, TResult>(string name) : Module(name), IModule<T, TResult>
        {
            public abstract TResult forward(T input);

            public TResult call(T input) => forward(input);
        }

        public abstract class Module<T1, T2, TResult>(string name) : Module(name)
        {
            public abstract TResult forward(T1 input1, T2 input2);

            public TResult call(T1 input1, T2 input2) => forward(input1, input2);
        }

        public abstract class Module<T1, T2, T3, TResult>(string name) : Module(name)
        {
            public abstract TResult forward(T1 input1, T2 input2, T3 input3);

            public TResult call(T1 input1, T2 input2, T3 input3) => forward(input1, input2, input3);
        }

        public abstract class Module<T1, T2, T3, T4, TResult>(string name) : Module(name)
        {
            public abstract TResult forward(T1 input1, T2 input2, T3 input3, T4 input4);

            public TResult call(T1 input1, T2 input2, T3 input3, T4 input4) => forward(input1, input2, input3, input4);
        }
    }
}

/// <summary>Moves a module's parameters and buffers to a type or device; integer buffers keep their type.</summary>
public static class ModuleExtensionMethods
{
    public static T to<T>(this T module, torch.ScalarType type, bool non_blocking = false) where T : torch.nn.Module => (T)module.Move(null, type, non_blocking);
    public static T to<T>(this T module, torch.Device device, torch.ScalarType type, bool non_blocking = false) where T : torch.nn.Module => (T)module.Move(device, type, non_blocking);
    public static T to<T>(this T module, torch.Device device, bool non_blocking = false) where T : torch.nn.Module => (T)module.Move(device, null, non_blocking);
    public static T to<T>(this T module, DeviceType deviceType, int deviceIndex = -1, bool non_blocking = false) where T : torch.nn.Module => (T)module.Move(new torch.Device(deviceType, deviceIndex), null, non_blocking);
    public static T cpu<T>(this T module, bool non_blocking = false) where T : torch.nn.Module => (T)module.Move(torch.CPU, null, non_blocking);
    public static T cuda<T>(this T module, int deviceIndex = -1, bool non_blocking = false) where T : torch.nn.Module => (T)module.Move(new torch.Device(DeviceType.CUDA, deviceIndex), null, non_blocking);
    public static T bfloat16<T>(this T module, bool non_blocking = false) where T : torch.nn.Module => module.to(torch.ScalarType.BFloat16, non_blocking);
    public static T half<T>(this T module, bool non_blocking = false) where T : torch.nn.Module => module.to(torch.ScalarType.Float16, non_blocking);
    public static T @float<T>(this T module, bool non_blocking = false) where T : torch.nn.Module => module.to(torch.ScalarType.Float32, non_blocking);
}
