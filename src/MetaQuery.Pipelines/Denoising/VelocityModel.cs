using MetaQuery.Kernels;
using MetaQuery.Models.Diffusion;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>A diffusion network as one slot uses it: conditions to contexts, latents to what the network predicts (a velocity; noise for the
/// UNet of Stable Diffusion). For one thread at a time.</summary>
public interface IVelocityModel : IDisposable
{
    /// <summary>Everything the network needs of one condition, which no step changes: keys, values and the projected caption behind them.</summary>
    /// <param name="condition">[tokens, channels], float32.</param>
    /// <param name="tokens">Length of the condition.</param>
    /// <returns>The caller disposes of it, after the last use.</returns>
    VelocityContext Prepare(ReadOnlySpan<float> condition, int tokens);

    /// <summary>Velocities of a batch. Row r reads latents r modulo <paramref name="latentRows"/>: guidance's branches share them.</summary>
    /// <param name="latents">[latentRows, C, height, width].</param>
    /// <param name="latentRows">A divisor of the number of contexts.</param>
    /// <param name="height">Of the latents.</param>
    /// <param name="width">Of the latents.</param>
    /// <param name="timestep">Of all rows.</param>
    /// <param name="contexts">One per row.</param>
    /// <param name="velocity">Receives [rows, C, height, width].</param>
    void Predict(
        ReadOnlySpan<float> latents, int latentRows, int height, int width, float timestep, IReadOnlyList<VelocityContext> contexts, Span<float> velocity);
}

/// <summary>A network on an accelerator: latents stay there from the first step to the last, so that no step waits for the device.</summary>
internal interface IDeviceVelocityModel : IVelocityModel
{
    /// <summary>Null where <see cref="IVelocityModel.Predict"/> is to be used: on the CPU.</summary>
    Device? Device { get; }

    /// <param name="latents">[latentRows, C, height, width], float32, on the device.</param>
    /// <returns>[rows, C, height, width], float32, on the device.</returns>
    Tensor Predict(Tensor latents, float timestep, IReadOnlyList<VelocityContext> contexts);
}

/// <summary>One condition, prepared for a network.</summary>
public abstract class VelocityContext : IDisposable
{
    /// <summary>Memory held.</summary>
    public abstract long Bytes { get; }

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected abstract void Dispose(bool disposing);
}

/// <summary>By the fused kernels. Rows are independent of each other and of the batch's size, bit for bit.</summary>
internal sealed class FusedVelocityModel(FusedSanaTransformer transformer, int threads) : IVelocityModel
{
    private readonly FusedSanaWorkspace workspace = new(threads);

    public VelocityContext Prepare(ReadOnlySpan<float> condition, int tokens) => new Context(transformer.Prepare(condition, tokens, threads));

    public void Predict(
        ReadOnlySpan<float> latents, int latentRows, int height, int width, float timestep, IReadOnlyList<VelocityContext> contexts, Span<float> velocity) =>
        transformer.Forward(
            latents, latentRows, height, width, [timestep], [.. contexts.Select(context => ((Context)context).Fused)], velocity, workspace);

    public void Dispose() => workspace.Dispose();

    private sealed class Context(FusedSanaContext fused) : VelocityContext
    {
        public FusedSanaContext Fused => fused;

        public override long Bytes => fused.Bytes;

        protected override void Dispose(bool disposing) => fused.Dispose();
    }
}

/// <summary>
/// By plain tensor operators, on any device. On the CPU each row is computed by itself, since OpenBLAS rounds a row otherwise at
/// another place of a matrix; a GPU takes the whole batch, where its conditions are of one length.
/// </summary>
/// <param name="network">Stays the caller's.</param>
/// <param name="device">Where it is.</param>
/// <param name="wholeBatches">Whether a batch is computed at once; null: on accelerators.</param>
internal sealed class PlainVelocityModel<TContext>(IConditionedNetwork<TContext> network, Device device, bool? wholeBatches = null) : IDeviceVelocityModel
    where TContext : class, IConditionContext<TContext>
{
    private IReadOnlyList<VelocityContext>? joinedFrom;
    private TContext? joined;

    public Device? Device { get; } = wholeBatches ?? device.type != DeviceType.CPU ? device : null;

    public Tensor Predict(Tensor latents, float timestep, IReadOnlyList<VelocityContext> contexts)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        if (contexts.Select(context => ((Context)context).Tokens).Distinct().Count() > 1)
        {
            return cat([.. contexts.Select((context, row) => network.Forward(latents.narrow(0, row % latents.shape[0], 1), [timestep], ((Context)context).Plain))], 0)
                .MoveToOuterDisposeScope();
        }

        var timesteps = new float[contexts.Count];
        Array.Fill(timesteps, timestep);
        return network.Forward(latents.repeat([contexts.Count / latents.shape[0], 1, 1, 1]), timesteps, Join(contexts)).MoveToOuterDisposeScope();
    }

    public VelocityContext Prepare(ReadOnlySpan<float> condition, int tokens)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var context = network.Prepare(tensor(condition.ToArray(), [1, tokens, condition.Length / tokens]).to(device));
        context.DetachFromDisposeScope();
        return new Context(context, tokens);
    }

    public void Predict(
        ReadOnlySpan<float> latents, int latentRows, int height, int width, float timestep, IReadOnlyList<VelocityContext> contexts, Span<float> velocity)
    {
        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        var once = tensor(latents.ToArray(), [latentRows, network.InChannels, height, width]).to(device);
        if (Device is not null)
        {
            Copy(Predict(once, timestep, contexts), velocity);
            return;
        }

        var perRow = velocity.Length / contexts.Count;
        for (var row = 0; row < contexts.Count; row++)
        {
            using var rowScope = NewDisposeScope();
            Copy(
                network.Forward(once.narrow(0, row % latentRows, 1), [timestep], ((Context)contexts[row]).Plain),
                velocity.Slice(row * perRow, perRow));
        }
    }

    public void Dispose() => joined?.Dispose();

    private TContext Join(IReadOnlyList<VelocityContext> contexts)
    {
        if (joined is null || !ReferenceEquals(joinedFrom, contexts))
        {
            joined?.Dispose();
            joined = TContext.Join([.. contexts.Select(context => ((Context)context).Plain)]);
            joined.DetachFromDisposeScope();
            joinedFrom = contexts;
        }

        return joined;
    }

    private static void Copy(Tensor result, Span<float> velocity)
    {
        using var here = result.cpu();
        using var flat = here.contiguous();
        System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(flat.bytes).CopyTo(velocity);
    }

    private sealed class Context(TContext plain, int tokens) : VelocityContext
    {
        public TContext Plain => plain;

        public int Tokens => tokens;

        public override long Bytes => plain.Bytes;

        protected override void Dispose(bool disposing) => plain.Dispose();
    }
}
