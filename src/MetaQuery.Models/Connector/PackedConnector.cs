using MetaQuery.Kernels;
using MetaQuery.Models.Mllm;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Connector;

/// <summary>The connector's computation for inference on the CPU. A row's condition depends on that row alone, bit for bit.</summary>
internal sealed unsafe class PackedConnector : IDisposable
{
    private readonly PackedLayers _layers;
    private readonly PackedWeights _first;
    private readonly PackedWeights _second;
    private readonly Tensor _norm;
    private readonly float _epsilon;
    private readonly ScalarType _dtype;
    private readonly ConnectorKind _kind;

    /// <param name="layers">Owned from here on.</param>
    /// <param name="norm">[D], float32; stays the caller's.</param>
    public PackedConnector(PackedLayers layers, FusedLinear first, FusedLinear second, Tensor norm, float epsilon, ScalarType dtype, ConnectorKind kind)
    {
        (_layers, _norm, _epsilon, _dtype, _kind) = (layers, norm, epsilon, dtype, kind);
        _first = new PackedWeights(first.Weight, first.Bias, PackedLayers.TypeOf(dtype), RawKernels.Features);
        _second = new PackedWeights(second.Weight, second.Bias, PackedLayers.TypeOf(dtype), RawKernels.Features);
    }

    /// <param name="hiddenStates">[B, N, C], float32.</param>
    /// <returns>[B, N, D], float32.</returns>
    public Tensor Forward(Tensor hiddenStates, Action<string, Tensor>? observe)
    {
        using var scope = NewDisposeScope();
        var (batch, queries) = (hiddenStates.shape[0], hiddenStates.shape[1]);
        var x = hiddenStates.reshape(batch * queries, -1);
        long[] offsets = [.. Enumerable.Range(0, (int)batch + 1).Select(row => row * queries)];
        x = _kind == ConnectorKind.EncoderProjection ? Project(Encode(x.clone())) : Encode(Project(x));
        return FusedKernels.RmsNorm(x, _norm, _epsilon, ScalarType.Float32).view(batch, queries, _second.Outputs).MoveToOuterDisposeScope();

        Tensor Encode(Tensor states)
        {
            _layers.Forward(states, offsets, causal: false, observe: observe);
            return states;
        }
    }

    private Tensor Project(Tensor x)
    {
        var first = Multiply(_first, x.to(_dtype).contiguous(), _dtype, KernelActivation.TanhGelu);
        return Multiply(_second, first, ScalarType.Float32, KernelActivation.None);
    }

    public void Dispose()
    {
        _layers.Dispose();
        _first.Dispose();
        _second.Dispose();
    }

    private static Tensor Multiply(PackedWeights weights, Tensor input, ScalarType dtype, KernelActivation activation)
    {
        var rows = input.shape[0];
        var output = empty([rows, weights.Outputs], dtype: dtype);
        fixed (byte* source = input.bytes)
        fixed (byte* target = output.bytes)
        {
            weights.Multiply(source, rows, new MatmulTarget { Output = target, Type = PackedLayers.TypeOf(dtype), Activation = activation }, get_num_threads());
        }

        return output;
    }
}
