using MetaQuery.Sampling;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>The branches of a guided batch: contexts of all rows without a condition, with the images alone (optional), with all of it.</summary>
/// <param name="Unconditional">[B], or null for no guidance at all.</param>
/// <param name="ImagesOnly">[B], or null for two branches.</param>
/// <param name="Conditional">[B].</param>
/// <param name="GuidanceScale">[B], g.</param>
/// <param name="ImageGuidanceScale">[B], gi; with three branches only.</param>
/// <param name="Unguided">[B]: rows that take the conditional velocity as it is.</param>
public sealed record GuidedContexts(
    IReadOnlyList<VelocityContext>? Unconditional, IReadOnlyList<VelocityContext>? ImagesOnly, IReadOnlyList<VelocityContext> Conditional,
    float[] GuidanceScale, float[]? ImageGuidanceScale = null, bool[]? Unguided = null);

/// <summary>What one step did; the tensors are borrowed.</summary>
/// <param name="Index">0 for the first step.</param>
/// <param name="Velocity">The guided velocity, [B, C, height, width].</param>
/// <param name="Latents">After the step.</param>
public readonly record struct SamplingStep(int Index, Tensor Velocity, Tensor Latents);

/// <summary>From noise to latents: the network, guidance and the solver, step by step.</summary>
public static class SamplingLoop
{
    /// <param name="model">Not in use by another thread.</param>
    /// <param name="run">Just begun.</param>
    /// <param name="noise">[B, C, height, width], float32, on the CPU.</param>
    /// <param name="contexts">Of B rows.</param>
    /// <param name="noiseOfStep">What step 0, 1, … adds, shaped as <paramref name="noise"/>, where <see cref="SamplingRun.NeedsNoise"/> is true; disposed of here.</param>
    /// <param name="timestepScale">What the network's timesteps are multiplied by (config.json's timestep_scale).</param>
    /// <param name="observe">Called after every step.</param>
    /// <param name="cancellationToken">Looked at before every step.</param>
    /// <returns>[B, C, height, width], float32, scaled; the caller owns them.</returns>
    /// <exception cref="OperationCanceledException">Within one step after the token fires.</exception>
    public static Tensor Run(
        IVelocityModel model, SamplingRun run, Tensor noise, GuidedContexts contexts, Func<int, Tensor>? noiseOfStep = null, float timestepScale = 1,
        Action<SamplingStep>? observe = null, CancellationToken cancellationToken = default)
    {
        using var inference = inference_mode();
        using var outer = NewDisposeScope();
        var rows = (int)noise.shape[0];
        List<VelocityContext> all = [.. contexts.Unconditional ?? [], .. contexts.ImagesOnly ?? [], .. contexts.Conditional];
        var branches = all.Count / rows;
        if (contexts.Conditional.Count != rows || all.Count != branches * rows || contexts.GuidanceScale.Length != rows)
        {
            throw new ArgumentException($"{all.Count} contexts and {contexts.GuidanceScale.Length} guidance scales for {rows} rows of noise", nameof(contexts));
        }

        var (height, width) = ((int)noise.shape[2], (int)noise.shape[3]);
        var accelerated = model is IDeviceVelocityModel { Device: not null } found ? found : null;
        var device = accelerated?.Device;
        var scale = There(Column(contexts.GuidanceScale));
        var imageScale = contexts.ImageGuidanceScale is { } values ? There(Column(values)) : null;
        var unguided = contexts.Unguided is { } flags && Array.Exists(flags, flag => flag) ? There(tensor(flags, [flags.Length, 1, 1, 1])) : null;
        var buffer = accelerated is null ? empty([all.Count, noise.shape[1], height, width], dtype: ScalarType.Float32) : null;
        var latents = There(noise.contiguous());
        for (var step = 0; step < run.Timesteps.Count; step++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = NewDisposeScope();
            var velocities = Predict(run.Timesteps[step] * timestepScale);
            var guided = branches switch
            {
                1 => velocities,
                2 => Guidance.TwoBranches(velocities, scale),
                _ => Guidance.ThreeBranches(velocities, scale, imageScale ?? throw new ArgumentException("three branches need an image guidance scale", nameof(contexts))),
            };
            if (branches > 1 && unguided is not null)
            {
                // Exactly the velocity of an unguided batch, where u + 1 (c - u) would only be close to it.
                guided = torch.where(unguided, velocities.narrow(0, (branches - 1) * rows, rows), guided);
            }

            var next = run.Step(guided, latents, run.NeedsNoise && noiseOfStep is not null ? There(noiseOfStep(step)) : null);
            observe?.Invoke(new SamplingStep(step, guided, next));
            latents = next.contiguous().MoveToOuterDisposeScope();
        }

        return (device is null ? latents : latents.cpu()).MoveToOuterDisposeScope(); // on an accelerator this alone waits for the steps

        Tensor There(Tensor here) => device is null ? here : here.to(device);

        Tensor Predict(float timestep)
        {
            if (accelerated is not null)
            {
                return accelerated.Predict(latents, timestep, all);
            }

            model.Predict(Floats(latents), rows, height, width, timestep, all, Floats(buffer!));
            return buffer!;
        }
    }

    private static Tensor Column(float[] values) => tensor(values, [values.Length, 1, 1, 1]);

    private static Span<float> Floats(Tensor contiguous) => System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(contiguous.bytes);
}
