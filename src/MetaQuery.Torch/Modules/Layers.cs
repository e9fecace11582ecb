using TorchSharp.Modules;
using TorchSharp.Native;
using static TorchSharp.torch;

namespace TorchSharp
{
    namespace Modules
    {
        /// <summary>y = x W^T + b; weight [out, in].</summary>
        public class Linear : nn.Module<Tensor, Tensor>
        {
            internal Linear(Parameter weight, Parameter? bias)
                : base(nameof(Linear))
            {
                this.weight = weight;
                this.bias = bias;
                register_parameter("weight", weight);
                if (bias is not null) register_parameter("bias", bias);
            }

            public Parameter weight { get; set; }
            public Parameter? bias { get; set; }
            public long in_features => weight.size(1);
            public long out_features => weight.size(0);

            public override Tensor forward(Tensor tensor) => nn.functional.linear(tensor, weight, bias);
        }

        /// <summary>Two-dimensional convolution; weight [out, in/groups, kernel height, kernel width].</summary>
        public class Conv2d : nn.Module<Tensor, Tensor>
        {
            readonly long[] _stride, _padding, _dilation;
            readonly long _groups;
            readonly PaddingModes _mode;

            internal Conv2d(Parameter weight, Parameter? bias, long[] stride, long[] padding, long[] dilation, long groups, PaddingModes mode)
                : base(nameof(Conv2d))
            {
                (this.weight, this.bias, _stride, _padding, _dilation, _groups, _mode) = (weight, bias, stride, padding, dilation, groups, mode);
                register_parameter("weight", weight);
                if (bias is not null) register_parameter("bias", bias);
            }

            public Parameter weight { get; set; }
            public Parameter? bias { get; set; }
            public long in_channels => weight.size(1) * _groups;
            public long out_channels => weight.size(0);

            public override Tensor forward(Tensor input)
            {
                if (_mode == PaddingModes.Zeros) return nn.functional.conv2d(input, weight, bias, _stride, _padding, _dilation, _groups);
                using var padded = nn.functional.pad(input, [_padding[1], _padding[1], _padding[0], _padding[0]], _mode);
                return nn.functional.conv2d(padded, weight, bias, _stride, [0, 0], _dilation, _groups);
            }
        }

        /// <summary>Normalises over the last dimensions.</summary>
        public class LayerNorm : nn.Module<Tensor, Tensor>
        {
            internal LayerNorm(long[] normalized_shape, double eps, Parameter? weight, Parameter? bias)
                : base(nameof(LayerNorm))
            {
                (this.normalized_shape, this.eps, this.weight, this.bias) = (normalized_shape, eps, weight, bias);
                if (weight is not null) register_parameter("weight", weight);
                if (bias is not null) register_parameter("bias", bias);
            }

            public Parameter? weight { get; set; }
            public Parameter? bias { get; set; }
            public long[] normalized_shape { get; set; }
            public double eps { get; set; }
            public bool elementwise_affine => weight is not null;

            public override Tensor forward(Tensor tensor) => nn.functional.layer_norm(tensor, normalized_shape, weight, bias, eps);
        }

        /// <summary>Normalises groups of channels of [B, C, ...].</summary>
        public class GroupNorm : nn.Module<Tensor, Tensor>
        {
            internal GroupNorm(long num_groups, double eps, Parameter? weight, Parameter? bias)
                : base(nameof(GroupNorm))
            {
                (this.num_groups, this.eps, this.weight, this.bias) = (num_groups, eps, weight, bias);
                if (weight is not null) register_parameter("weight", weight);
                if (bias is not null) register_parameter("bias", bias);
            }

            public Parameter? weight { get; set; }
            public Parameter? bias { get; set; }
            public long num_groups { get; set; }
            public double eps { get; set; }
            public bool affine => weight is not null;

            public override Tensor forward(Tensor tensor) => nn.functional.group_norm(tensor, num_groups, weight, bias, eps);
        }

        /// <summary>A table of vectors; weight [entries, C].</summary>
        public class Embedding : nn.Module<Tensor, Tensor>
        {
            readonly long _padding;

            internal Embedding(Parameter weight, long? padding_idx)
                : base(nameof(Embedding))
            {
                (this.weight, _padding) = (weight, padding_idx ?? -1);
                register_parameter("weight", weight);
            }

            public Parameter weight { get; set; }

            public override Tensor forward(Tensor input) => Aten.One("embedding", weight, input, _padding);
        }

        public sealed class SiLU : nn.Module<Tensor, Tensor>
        {
            internal SiLU()
                : base(nameof(SiLU))
            {
            }

            public override Tensor forward(Tensor tensor) => tensor.silu();
        }

        public sealed class ReLU : nn.Module<Tensor, Tensor>
        {
            readonly bool _inplace;

            internal ReLU(bool inplace)
                : base(nameof(ReLU)) => _inplace = inplace;

            public override Tensor forward(Tensor tensor) => nn.functional.relu(tensor, _inplace);
        }

        public sealed partial class GELU : nn.Module<Tensor, Tensor>
        {
            readonly Approximate _approximate;
            readonly bool _inplace;

            internal GELU(Approximate approximate, bool inplace)
                : base(nameof(GELU)) => (_approximate, _inplace) = (approximate, inplace);

            public override Tensor forward(Tensor tensor) => nn.functional.gelu(tensor, _approximate, _inplace);
        }

        public sealed class Identity : nn.Module<Tensor, Tensor>
        {
            internal Identity()
                : base(nameof(Identity))
            {
            }

            public override Tensor forward(Tensor tensor) => tensor.alias();
        }

        public sealed class Dropout : nn.Module<Tensor, Tensor>
        {
            internal Dropout(double p, bool inplace)
                : base(nameof(Dropout)) => (this.p, this.inplace) = (p, inplace);

            public double p { get; set; }
            public bool inplace { get; set; }

            public override Tensor forward(Tensor tensor) => nn.functional.dropout(tensor, p, training, inplace);
        }
    }

    public static partial class torch
    {
        public static partial class nn
        {
            // PyTorch's default: uniform within 1 / sqrt(number of inputs), for weights and biases alike.
            static Parameter Uniform(long[] shape, long inputs, Device? device, ScalarType? dtype)
            {
                var bound = 1 / Math.Sqrt(inputs);
                return new Parameter(empty(shape, dtype, device).uniform_(-bound, bound));
            }

            public static Linear Linear(long inputSize, long outputSize, bool hasBias = true, Device? device = null, ScalarType? dtype = null) =>
                new(Uniform([outputSize, inputSize], inputSize, device, dtype), hasBias ? Uniform([outputSize], inputSize, device, dtype) : null);

            public static Linear Linear(Parameter weight, Parameter? bias = null) => new(weight, bias);

            public static Conv2d Conv2d(long in_channels, long out_channels, long kernel_size, long stride = 1, long padding = 0, long dilation = 1, PaddingModes padding_mode = PaddingModes.Zeros, long groups = 1, bool bias = true, Device? device = null, ScalarType? dtype = null) =>
                Conv2d(in_channels, out_channels, (kernel_size, kernel_size), (stride, stride), (padding, padding), (dilation, dilation), padding_mode, groups, bias, device, dtype);

            public static Conv2d Conv2d(long in_channels, long out_channels, (long, long) kernel_size, (long, long)? stride = null, (long, long)? padding = null, (long, long)? dilation = null, PaddingModes padding_mode = PaddingModes.Zeros, long groups = 1, bool bias = true, Device? device = null, ScalarType? dtype = null)
            {
                var inputs = in_channels / groups * kernel_size.Item1 * kernel_size.Item2;
                return new(Uniform([out_channels, in_channels / groups, kernel_size.Item1, kernel_size.Item2], inputs, device, dtype),
                    bias ? Uniform([out_channels], inputs, device, dtype) : null, Both(stride, 1), Both(padding, 0), Both(dilation, 1), groups, padding_mode);
            }

            static long[] Both((long, long)? pair, long otherwise) => pair is { } p ? [p.Item1, p.Item2] : [otherwise, otherwise];

            public static LayerNorm LayerNorm(long normalized_shape, double eps = 1e-05, bool elementwise_affine = true, bool bias = true, Device? device = null, ScalarType? dtype = null) =>
                LayerNorm([normalized_shape], eps, elementwise_affine, bias, device, dtype);

            public static LayerNorm LayerNorm(long[] normalized_shape, double eps = 1e-05, bool elementwise_affine = true, bool bias = true, Device? device = null, ScalarType? dtype = null) =>
                new(normalized_shape, eps, elementwise_affine ? new Parameter(ones(normalized_shape, dtype, device)) : null,
                    elementwise_affine && bias ? new Parameter(zeros(normalized_shape, dtype, device)) : null);

            public static GroupNorm GroupNorm(long num_groups, long num_channels, double eps = 1e-05, bool affine = true, Device? device = null, ScalarType? dtype = null) =>
                new(num_groups, eps, affine ? new Parameter(ones([num_channels], dtype, device)) : null, affine ? new Parameter(zeros([num_channels], dtype, device)) : null);

            public static Embedding Embedding(long num_embeddings, long embedding_dims, long? padding_idx = null, double? max_norm = null, double norm_type = 2, bool scale_grad_by_freq = false, bool sparse = false, Device? device = null, ScalarType? dtype = null) =>
                max_norm is not null || scale_grad_by_freq || sparse
                    ? throw new NotSupportedException("Embedding: max_norm, scale_grad_by_freq and sparse are not part of MetaQuery.Torch")
                    : new(new Parameter(randn([num_embeddings, embedding_dims], dtype, device)), padding_idx);

            public static SiLU SiLU() => new();
            public static ReLU ReLU(bool inplace = false) => new(inplace);
            public static GELU GELU() => new(Modules.GELU.Approximate.none, inplace: false);
            public static GELU GELU(GELU.Approximate approximate, bool inplace = false) => new(approximate, inplace);
            public static Identity Identity() => new();
            public static Dropout Dropout(double p = 0.5, bool inplace = false) => new(p, inplace);
            public static ModuleList<Module> ModuleList(params Module[] modules) => new(modules);
            public static ModuleList<T> ModuleList<T>(params T[] modules) where T : Module => new(modules);
            public static Sequential Sequential(params Module<Tensor, Tensor>[] modules) => new(modules.Select((module, i) => (i.ToString(), module)));
            public static Sequential Sequential(params (string name, Module<Tensor, Tensor> submodule)[] modules) => new(modules);
        }
    }
}
