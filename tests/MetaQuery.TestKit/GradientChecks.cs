using TorchSharp;
using Xunit;
using static TorchSharp.torch;

namespace MetaQuery.TestKit;

/// <summary>Gradients against the loss itself.</summary>
public static class GradientChecks
{
    /// <summary>Along its gradient a loss falls as the gradient says: (L(x + h d) - L(x - h d)) / 2h is the gradient's length, d being its direction.</summary>
    /// <param name="holder">A leaf with its gradient; as before afterwards.</param>
    /// <param name="loss">One number; reads the holder.</param>
    /// <param name="step">h.</param>
    /// <param name="tolerance">Relative.</param>
    public static void Falls(Tensor holder, Func<Tensor> loss, double step, double tolerance)
    {
        ArgumentNullException.ThrowIfNull(holder);
        ArgumentNullException.ThrowIfNull(loss);
        using var scope = NewDisposeScope();
        var gradient = holder.grad ?? throw new ArgumentException("the tensor has no gradient", nameof(holder));
        var length = gradient.norm().item<float>();
        Assert.True(length > 1e-4, $"a gradient of length {length} is lost in the loss's rounding");
        double At(double distance)
        {
            using var mode = no_grad();
            using var inner = NewDisposeScope();
            var moved = gradient * (distance / length);
            holder.add_(moved);
            var value = loss().item<float>();
            holder.sub_(moved);
            return value;
        }

        var slope = (At(step) - At(-step)) / (2 * step);
        Assert.True(Math.Abs(slope - length) <= tolerance * length, $"the loss changes by {slope} per unit, its gradient says {length}");
    }
}
