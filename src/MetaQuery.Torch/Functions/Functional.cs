using TorchSharp.Native;

namespace TorchSharp
{
    namespace Modules
    {
        public sealed partial class GELU
        {
            /// <summary>Exact by the error function, or the tanh approximation.</summary>
            public enum Approximate
            {
                none = 0,
                tanh = 1,
            }
        }
    }

    public static partial class torch
    {
        public static partial class nn
        {
            /// <summary>What a loss does with its elements.</summary>
            public enum Reduction
            {
                None = 0,
                Mean = 1,
                Sum = 2,
            }

            /// <summary>Functions of torch.nn.functional; argument order and defaults as in TorchSharp.</summary>
            public static partial class functional
            {
                static readonly long[] One2 = [1, 1], Zero2 = [0, 0];

                /// <param name="input">[..., in].</param>
                /// <param name="weights">[out, in].</param>
                /// <param name="bias">[out].</param>
                /// <returns>[..., out].</returns>
                public static Tensor linear(Tensor input, Tensor weights, Tensor? bias = null) => Aten.One("linear", input, weights, bias);

                public static Tensor conv1d(Tensor input, Tensor weight, Tensor? bias = null, long? stride = null, long? padding = null, long? dilation = null, long groups = 1) =>
                    Aten.One("conv1d", input, weight, bias, stride ?? 1, padding ?? 0, dilation ?? 1, groups);

                /// <param name="input">[B, C, height, width].</param>
                /// <param name="weight">[out, C/groups, kernel height, kernel width].</param>
                public static Tensor conv2d(Tensor input, Tensor weight, Tensor? bias = null, long[]? strides = null, long[]? padding = null, long[]? dilation = null, long groups = 1) =>
                    Aten.One("conv2d", input, weight, bias, strides ?? One2, padding ?? Zero2, dilation ?? One2, groups);

                public static Tensor conv3d(Tensor input, Tensor weight, Tensor? bias = null, long[]? strides = null, long[]? padding = null, long[]? dilation = null, long groups = 1) =>
                    Aten.One("conv3d", input, weight, bias, strides ?? [1, 1, 1], padding ?? [0, 0, 0], dilation ?? [1, 1, 1], groups);

                public static Tensor conv_transpose2d(Tensor input, Tensor weight, Tensor? bias = null, long[]? strides = null, long[]? padding = null, long[]? output_padding = null, long[]? dilation = null, long groups = 1) =>
                    Aten.One("conv_transpose2d.input", input, weight, bias, strides ?? One2, padding ?? Zero2, output_padding ?? Zero2, groups, dilation ?? One2);

                public static Tensor layer_norm(Tensor input, long[] normalized_shape, Tensor? weight = null, Tensor? bias = null, double eps = 1e-05) =>
                    Aten.One("layer_norm", input, normalized_shape, weight, bias, eps);

                public static Tensor group_norm(Tensor input, long num_groups, Tensor? weight = null, Tensor? bias = null, double eps = 1e-05) =>
                    Aten.One("group_norm", input, num_groups, weight, bias, eps);

                public static Tensor batch_norm(Tensor input, Tensor running_mean, Tensor running_var, Tensor? weight = null, Tensor? bias = null, bool training = false, double momentum = 0.1, double eps = 1e-05) =>
                    Aten.One("batch_norm", input, weight, bias, running_mean, running_var, training, momentum, eps, true);

                public static Tensor normalize(Tensor input, double p = 2, long dim = 1, double eps = 1e-12)
                {
                    using var norm = Aten.One("norm.ScalarOpt_dim", input, p, (long[])[dim], true);
                    using var bounded = norm.clamp_min(eps);
                    return input.div(bounded);
                }

                public static Tensor relu(Tensor x, bool inplace = false) => inplace ? x.relu_() : x.relu();
                public static Tensor silu(Tensor x, bool inplace = false) => inplace ? x.silu_() : x.silu();
                public static Tensor sigmoid(Tensor x) => x.sigmoid();
                public static Tensor sigmoid(Tensor x, bool inplace) => inplace ? x.sigmoid_() : x.sigmoid();
                public static Tensor tanh(Tensor x, bool inplace = false) => inplace ? x.tanh_() : x.tanh();
                public static Tensor gelu(Tensor x) => Aten.One("gelu", x);
                public static Tensor gelu(Tensor x, bool inplace) => inplace ? x.gelu_() : x.gelu();
                public static Tensor gelu(Tensor x, Modules.GELU.Approximate approximate, bool inplace = false) =>
                    inplace ? Aten.InPlace(x, "gelu_", x, approximate.ToString()) : Aten.One("gelu", x, approximate.ToString());
                public static Tensor leaky_relu(Tensor input, double negative_slope = 0.01, bool inplace = false) =>
                    inplace ? Aten.InPlace(input, "leaky_relu_", input, negative_slope) : Aten.One("leaky_relu", input, negative_slope);
                public static Tensor relu6(Tensor x, bool inplace = false) => inplace ? Aten.InPlace(x, "relu6_", x) : Aten.One("relu6", x);
                public static Tensor hardswish(Tensor input, bool inplace = false) => inplace ? Aten.InPlace(input, "hardswish_", input) : Aten.One("hardswish", input);
                public static Tensor elu(Tensor x, double alpha, bool inplace = false) => inplace ? Aten.InPlace(x, "elu_", x, alpha) : Aten.One("elu", x, alpha);
                public static Tensor softplus(Tensor x, double beta = 1, double threshold = 20) => x.softplus(beta, threshold);
                public static Tensor glu(Tensor input, long dim = -1) => Aten.One("glu", input, dim);
                public static Tensor softmax(Tensor input, long dim, ScalarType? dtype = null) => input.softmax(dim, dtype);
                public static Tensor log_softmax(Tensor x, long dim) => x.log_softmax(dim);

                public static Tensor dropout(Tensor input, double p = 0.5, bool training = true, bool inplace = false) =>
                    inplace ? Aten.InPlace(input, "dropout_", input, p, training) : Aten.One("dropout", input, p, training);

                public static Tensor one_hot(Tensor x, long num_classes = -1) => Aten.One("one_hot", x, num_classes);

                public static Tensor pixel_shuffle(Tensor input, long upscale_factor) => Aten.One("pixel_shuffle", input, upscale_factor);
                public static Tensor pixel_unshuffle(Tensor input, long downscale_factor) => Aten.One("pixel_unshuffle", input, downscale_factor);

                public static Tensor avg_pool2d(Tensor input, long[] kernel_size, long[]? stride = null, long[]? padding = null, bool ceil_mode = false, bool count_include_pad = true, long? divisor_override = null) =>
                    Aten.One("avg_pool2d", input, kernel_size, stride ?? kernel_size, padding ?? Zero2, ceil_mode, count_include_pad, divisor_override);

                public static Tensor avg_pool2d(Tensor input, long kernel_size, long? stride = null, long padding = 0, bool ceil_mode = false, bool count_include_pad = true, long? divisor_override = null) =>
                    Aten.One("avg_pool2d", input, kernel_size, stride ?? kernel_size, padding, ceil_mode, count_include_pad, divisor_override);

                public static Tensor pad(Tensor input, ReadOnlySpan<long> pad, PaddingModes mode = PaddingModes.Constant, double value = 0) =>
                    functional.pad(input, pad.ToArray(), mode, value);

                /// <param name="pad">Before and after, from the last dimension backwards.</param>
                public static Tensor pad(Tensor input, long[] pad, PaddingModes mode = PaddingModes.Constant, double value = 0) => mode switch
                {
                    PaddingModes.Constant or PaddingModes.Zeros => Aten.One("constant_pad_nd", input, pad, value),
                    PaddingModes.Reflect => Aten.One(pad.Length == 2 ? "reflection_pad1d" : pad.Length == 4 ? "reflection_pad2d" : "reflection_pad3d", input, pad),
                    PaddingModes.Replicate => Aten.One(pad.Length == 2 ? "replication_pad1d" : pad.Length == 4 ? "replication_pad2d" : "replication_pad3d", input, pad),
                    _ => throw new NotSupportedException($"pad: {mode} is not part of MetaQuery.Torch"),
                };

                /// <summary>Resizes [B, C, ...]; one of size and scale_factor is given.</summary>
                public static Tensor interpolate(Tensor x, long[]? size = null, double[]? scale_factor = null, InterpolationMode mode = InterpolationMode.Nearest, bool? align_corners = null, bool recompute_scale_factor = false, bool antialias = false)
                {
                    if ((size is null) == (scale_factor is null)) throw new ArgumentException("interpolate needs a size or a scale factor, one of the two");
                    var spatial = x.Dimensions - 2;
                    if ((size?.Length ?? scale_factor!.Length) != spatial)
                        throw new ArgumentException($"interpolate: {size?.Length ?? scale_factor!.Length} sizes or factors for {spatial} spatial dimensions");
                    if (recompute_scale_factor && scale_factor is not null)
                    {
                        size = [.. scale_factor.Select((factor, i) => (long)Math.Floor(x.size(i + 2) * factor))];
                        scale_factor = null;
                    }
                    var corners = align_corners ?? false;
                    if (antialias && mode is not (InterpolationMode.Bilinear or InterpolationMode.Bicubic))
                        throw new ArgumentException($"interpolate: antialias goes with Bilinear or Bicubic, not with {mode}");
                    return (mode, spatial) switch
                    {
                        (InterpolationMode.Nearest, 1 or 2 or 3) => Aten.One($"upsample_nearest{spatial}d.vec", x, size, scale_factor),
                        (InterpolationMode.NearestExact, 1 or 2 or 3) => Aten.One($"_upsample_nearest_exact{spatial}d.vec", x, size, scale_factor),
                        (InterpolationMode.Linear, 1) => Aten.One("upsample_linear1d.vec", x, size, corners, scale_factor),
                        (InterpolationMode.Bilinear, 2) => Aten.One(antialias ? "_upsample_bilinear2d_aa.vec" : "upsample_bilinear2d.vec", x, size, corners, scale_factor),
                        (InterpolationMode.Bicubic, 2) => Aten.One(antialias ? "_upsample_bicubic2d_aa.vec" : "upsample_bicubic2d.vec", x, size, corners, scale_factor),
                        (InterpolationMode.Trilinear, 3) => Aten.One("upsample_trilinear3d.vec", x, size, corners, scale_factor),
                        _ => throw new NotSupportedException($"interpolate: {mode} in {spatial} dimensions is not part of MetaQuery.Torch"),
                    };
                }

                /// <summary>softmax(q k^T / sqrt(D) + mask) v.</summary>
                /// <param name="query">[..., L, D].</param>
                /// <param name="key">[..., S, D].</param>
                /// <param name="value">[..., S, E].</param>
                /// <param name="attn_mask">Broadcast to [..., L, S]; bool (true: may attend) or added to the scores.</param>
                /// <param name="p">Dropout.</param>
                /// <param name="is_casual">Each position sees itself and earlier ones (the name is TorchSharp's).</param>
                public static Tensor scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask = null, double p = 0, bool is_casual = false)
                {
                    if (attn_mask is not null && is_casual) throw new ArgumentException("attention: a mask and is_casual exclude each other");
                    if (Aten.Has("scaled_dot_product_attention")) return Aten.One("scaled_dot_product_attention", query, key, value, attn_mask, p, is_casual);
                    using var scope = NewDisposeScope();
                    // Both sides scaled by the root: as libtorch 2 does it, so that half precision does not overflow.
                    Scalar scale = Math.Pow(query.size(-1), -0.25);
                    var scores = query.mul(scale).matmul(key.mul(scale).transpose(-2, -1));
                    if (is_casual) attn_mask = torch.ones([query.size(-2), key.size(-2)], ScalarType.Bool, query.device).tril();
                    if (attn_mask is { dtype: ScalarType.Bool })
                        attn_mask = torch.zeros(attn_mask.shape, query.dtype, query.device).masked_fill_(attn_mask.logical_not(), double.NegativeInfinity);
                    if (attn_mask is not null) scores = scores.add(attn_mask);
                    var weights = scores.softmax(-1);
                    if (p > 0) weights = dropout(weights, p);
                    return weights.matmul(value).MoveToOuterDisposeScope();
                }

                public static Tensor mse_loss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean) => Aten.One("mse_loss", input, target, (long)reduction);
                public static Tensor l1_loss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean) => Aten.One("l1_loss", input, target, (long)reduction);
                public static Tensor smooth_l1_loss(Tensor input, Tensor target, Reduction reduction = Reduction.Mean, double beta = 1) => Aten.One("smooth_l1_loss", input, target, (long)reduction, beta);
                public static Tensor cross_entropy(Tensor input, Tensor target, Tensor? weight = null, long ignore_index = -100, Reduction reduction = Reduction.Mean, double label_smoothing = 0) =>
                    Aten.One("cross_entropy_loss", input, target, weight, (long)reduction, ignore_index, label_smoothing);
                public static Tensor binary_cross_entropy_with_logits(Tensor input, Tensor target, Tensor? weight = null, Reduction reduction = Reduction.Mean, Tensor? pos_weights = null) =>
                    Aten.One("binary_cross_entropy_with_logits", input, target, weight, pos_weights, (long)reduction);
                public static Tensor cosine_similarity(Tensor x1, Tensor x2, long dim = 1, double eps = 1e-08) => Aten.One("cosine_similarity", x1, x2, dim, eps);
            }
        }
    }
}
