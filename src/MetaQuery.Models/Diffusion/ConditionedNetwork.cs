using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Diffusion;

/// <summary>A condition as a network's attentions read it at every step.</summary>
/// <typeparam name="TSelf">The type itself.</typeparam>
public interface IConditionContext<TSelf> : IDisposable
    where TSelf : IConditionContext<TSelf>
{
    /// <summary>Memory held.</summary>
    long Bytes { get; }

    /// <summary>Makes it outlive the dispose scope it was made in.</summary>
    void DetachFromDisposeScope();

    /// <summary>One context of all rows, in order; copies.</summary>
    /// <exception cref="ArgumentException">None are given, or they cannot be rows of one batch.</exception>
    static abstract TSelf Join(IReadOnlyList<TSelf> contexts);
}

/// <summary>A diffusion network by plain tensor operators: latents, a timestep and a condition to what it predicts.</summary>
/// <typeparam name="TContext">Its prepared conditions.</typeparam>
public interface IConditionedNetwork<TContext> : IDisposable
    where TContext : IConditionContext<TContext>
{
    /// <summary>Channels of the latents.</summary>
    int InChannels { get; }

    /// <summary>Everything the network needs of a condition, which no step changes.</summary>
    /// <param name="condition">[B, T, channels].</param>
    /// <returns>The caller disposes of it.</returns>
    TContext Prepare(Tensor condition);

    /// <summary>One evaluation.</summary>
    /// <param name="latents">[B, C, height, width].</param>
    /// <param name="timesteps">[B].</param>
    /// <param name="context">Of the same B rows.</param>
    /// <returns>[B, C, height, width], float32; the caller owns it.</returns>
    Tensor Forward(Tensor latents, ReadOnlySpan<float> timesteps, TContext context);
}
