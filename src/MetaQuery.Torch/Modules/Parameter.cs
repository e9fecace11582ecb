using TorchSharp.Modules;

namespace TorchSharp
{
    namespace Modules
    {
        /// <summary>A tensor that a module registers as one of its parameters when it is a field.</summary>
        public class Parameter : torch.Tensor
        {
            /// <param name="data">Its native tensor moves into the parameter: afterwards it is invalid.</param>
            /// <param name="requires_grad">Whether backward gives it a gradient.</param>
            public Parameter(torch.Tensor data, bool requires_grad = true)
                : base(TakeHandle(data, requires_grad), register: false)
            {
                if (data.OwningDisposeScope is not { } scope) return;
                scope.Forget(data);
                data.OwningDisposeScope = null;
                scope.Disposables.Add(this);
                OwningDisposeScope = scope;
            }

            static nint TakeHandle(torch.Tensor data, bool requiresGrad)
            {
                data.requires_grad = requiresGrad;
                return data.DecoupleFromNativeHandle();
            }
        }
    }

    public static partial class torch
    {
        public static partial class nn
        {
            public static Parameter Parameter(Tensor data, bool requires_grad = true) => new(data, requires_grad);
        }
    }
}

namespace TorchSharp.Utils
{
    /// <summary>The name under which a field is registered, where it is not the field's own.</summary>
    [AttributeUsage(AttributeTargets.Field | AttributeTargets.Property)]
    public sealed class ComponentNameAttribute : Attribute
    {
        public string Name { get; set; } = "";
    }
}
