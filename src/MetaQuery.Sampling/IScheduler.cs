using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>A noise schedule with its solver. Immutable: one instance serves any number of runs and threads.</summary>
public interface IScheduler
{
    /// <summary>Length of the training schedule; a timestep lies in [0, this].</summary>
    int NumTrainTimesteps { get; }

    /// <summary>Begins one trajectory.</summary>
    /// <param name="numInferenceSteps">At least 1.</param>
    /// <returns>The run, which holds the solver's history; the caller disposes of it.</returns>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than one step, or more than the training schedule has.</exception>
    SamplingRun Begin(int numInferenceSteps);
}

/// <summary>One trajectory: its timesteps and sigmas, and the step from one to the next.</summary>
public abstract class SamplingRun : IDisposable
{
    private protected SamplingRun(float[] timesteps, float[] sigmas)
    {
        Timesteps = timesteps;
        Sigmas = sigmas;
    }

    /// <summary>What the network is given at each step; DPM-Solver's are whole numbers.</summary>
    public IReadOnlyList<float> Timesteps { get; }

    /// <summary>Noise levels, one more than <see cref="Timesteps"/>; the last is where the trajectory ends. Empty for solvers that know timesteps
    /// alone (DDPM, DDIM, PNDM).</summary>
    public IReadOnlyList<float> Sigmas { get; }

    /// <summary>Whether each step adds fresh noise.</summary>
    public virtual bool NeedsNoise => false;

    /// <summary>How many steps have been taken.</summary>
    public int StepIndex { get; private set; }

    /// <summary>Advances the latents by one step.</summary>
    /// <param name="output">The (guided) network's output, [B, C, height, width], float32: a velocity, or what the file's prediction_type says.</param>
    /// <param name="latents">[B, C, height, width], float32.</param>
    /// <param name="noise">Standard normal, shaped as <paramref name="latents"/>, another at every step; only where <see cref="NeedsNoise"/> is true.</param>
    /// <returns>The next latents, float32; the caller owns them.</returns>
    /// <exception cref="InvalidOperationException">The run has ended, or needs noise and was given none.</exception>
    public Tensor Step(Tensor output, Tensor latents, Tensor? noise = null)
    {
        if (StepIndex >= Timesteps.Count)
        {
            throw new InvalidOperationException($"a run of {Timesteps.Count} steps was asked for step {StepIndex + 1}");
        }

        if (NeedsNoise && noise is null)
        {
            throw new InvalidOperationException("this scheduler adds noise at every step and was given none");
        }

        var next = Advance(StepIndex, output, latents, NeedsNoise ? noise : null);
        StepIndex++;
        return next;
    }

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    private protected abstract Tensor Advance(int index, Tensor output, Tensor latents, Tensor? noise);

    protected virtual void Dispose(bool disposing)
    {
    }
}

/// <summary>A scheduler_config.json asks for something that is not built, or holds a value that makes no sense.</summary>
public sealed class SchedulerException(string message) : Exception(message)
{
    /// <summary>The same file fails again.</summary>
    public bool IsTransient => false;
}
