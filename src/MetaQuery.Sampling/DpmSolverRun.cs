using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>
/// The multistep update. Each step is a linear combination of the latents and of up to three predictions of x₀, whose
/// coefficients are computed in float64 from the float32 sigmas.
/// </summary>
internal sealed class DpmSolverRun(DpmSolverMultistepScheduler scheduler, float[] timesteps, float[] sigmas)
    : SamplingRun(timesteps, sigmas)
{
    private const int FewSteps = 15; // below it, lower_order_final acts (diffusers: "stabilises the sampling for < 15 steps")

    private readonly List<Tensor> predictions = []; // of x₀, newest first, at most SolverOrder

    private protected override Tensor Advance(int index, Tensor velocity, Tensor latents)
    {
        using var removed = velocity * Sigmas[index];
        // The history outlives whatever scope the caller steps in; Dispose gives it back.
        predictions.Insert(0, (latents - removed).DetachFromDisposeScope());
        if (predictions.Count > scheduler.SolverOrder)
        {
            predictions[^1].Dispose();
            predictions.RemoveAt(predictions.Count - 1);
        }

        var (latentsFactor, factors) = Coefficients(index);
        var next = latents * (float)latentsFactor;
        for (var i = 0; i < factors.Length; i++)
        {
            // Product and sum apart: a fused multiply-add would round differently in a vector loop and in its tail.
            using var term = predictions[i] * (float)factors[i];
            using var sum = next;
            next = sum + term;
        }

        return next;
    }

    private int OrderOf(int index)
    {
        var count = Timesteps.Count;
        var isLast = index == count - 1;
        var isFew = scheduler.LowerOrderFinal && count < FewSteps;
        if (isLast && (scheduler.EulerAtFinal || isFew || scheduler.FinalSigmasType == "zero"))
        {
            return 1;
        }

        var available = Math.Min(scheduler.SolverOrder, index + 1);
        return index == count - 2 && isFew ? Math.Min(available, 2) : available;
    }

    /// <summary>x_next = latentsFactor · x + Σ factors[i] · predictions[i].</summary>
    private (double LatentsFactor, double[] Factors) Coefficients(int index)
    {
        double now = Sigmas[index], after = Sigmas[index + 1];
        var alpha = 1 - after;
        var step = LogSnr(after) - LogSnr(now); // h; infinite when the last sigma is 0
        var decay = after == 0 ? -1 : Math.Exp(-step) - 1; // e^-h - 1
        var order = OrderOf(index);
        if (order == 1)
        {
            return (after / now, [-alpha * decay]);
        }

        var ratio0 = (LogSnr(now) - LogSnr(Sigmas[index - 1])) / step;
        if (order == 2)
        {
            // D1 = (m0 - m1) / r0
            var slope = scheduler.SolverType == "heun" ? alpha * ((decay / step) + 1) : -0.5 * alpha * decay;
            return (after / now, [(-alpha * decay) + (slope / ratio0), -slope / ratio0]);
        }

        // D1_0 = (m0 - m1) / r0, D1_1 = (m1 - m2) / r1, D1 = D1_0 + r0 / (r0 + r1) (D1_0 - D1_1), D2 = (D1_0 - D1_1) / (r0 + r1)
        var ratio1 = (LogSnr(Sigmas[index - 1]) - LogSnr(Sigmas[index - 2])) / step;
        var first = alpha * ((decay / step) + 1);
        var second = -alpha * (((decay + step) / (step * step)) - 0.5);
        var newer = first + (((first * ratio0) + second) / (ratio0 + ratio1)); // factor of D1_0
        var older = -((first * ratio0) + second) / (ratio0 + ratio1);          // factor of D1_1
        return (after / now, [
            (-alpha * decay) + (newer / ratio0),
            (-newer / ratio0) + (older / ratio1),
            -older / ratio1]);
    }

    private static double LogSnr(double sigma) => Math.Log(1 - sigma) - Math.Log(sigma);

    protected override void Dispose(bool disposing)
    {
        foreach (var prediction in predictions)
        {
            prediction.Dispose();
        }

        predictions.Clear();
        base.Dispose(disposing);
    }
}
