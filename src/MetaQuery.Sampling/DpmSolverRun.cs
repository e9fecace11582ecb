using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>
/// The multistep update. Each step is a linear combination of the latents and of up to three predictions (of x₀, or of the noise for
/// DPM-Solver without "++"), whose coefficients are computed in float64 from the float32 sigmas.
/// </summary>
internal sealed class DpmSolverRun(DpmSolverMultistepScheduler scheduler, float[] timesteps, float[] sigmas)
    : SamplingRun(timesteps, sigmas)
{
    private const int FewSteps = 15; // below it, lower_order_final acts (diffusers: "stabilises the sampling for < 15 steps")

    private readonly List<Tensor> predictions = []; // newest first, at most SolverOrder

    /// <inheritdoc/>
    public override bool NeedsNoise => scheduler.IsStochastic;

    private protected override Tensor Advance(int index, Tensor output, Tensor latents, Tensor? noise)
    {
        // The history outlives whatever scope the caller steps in; Dispose gives it back.
        predictions.Insert(0, Predict(index, output, latents).DetachFromDisposeScope());
        if (predictions.Count > scheduler.SolverOrder)
        {
            predictions[^1].Dispose();
            predictions.RemoveAt(predictions.Count - 1);
        }

        var (latentsFactor, factors, noiseFactor) = Coefficients(index);
        var terms = new List<(Tensor, double)> { (latents, latentsFactor) };
        terms.AddRange(factors.Select((factor, i) => (predictions[i], factor)));
        if (noise is not null)
        {
            terms.Add((noise, noiseFactor));
        }

        return LinearCombination.Of([.. terms]);
    }

    private Tensor Predict(int index, Tensor output, Tensor latents)
    {
        var (alpha, sigma) = scheduler.FactorsOf(Sigmas[index]);
        var type = scheduler.Prediction;
        if (scheduler.IsPlusPlus)
        {
            // Flow predictions are scaled by the level itself, even in a schedule without flow sigmas.
            return scheduler.Limits.Apply(Prediction.CleanLatents(type, output, latents, alpha, type == PredictionType.FlowPrediction ? Sigmas[index] : sigma));
        }

        if (!scheduler.Limits.AreSet)
        {
            return Prediction.Noise(type, output, latents, alpha, sigma);
        }

        using var clean = scheduler.Limits.Apply(Prediction.CleanLatents(type, output, latents, alpha, sigma));
        return Prediction.Noise(PredictionType.Sample, clean, latents, alpha, sigma);
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

    /// <summary>x_next = latentsFactor · x + Σ factors[i] · predictions[i] + noiseFactor · noise.</summary>
    private (double LatentsFactor, double[] Factors, double NoiseFactor) Coefficients(int index)
    {
        var now = scheduler.FactorsOf(Sigmas[index]);
        var after = scheduler.FactorsOf(Sigmas[index + 1]);
        var h = LogSnr(index + 1) - LogSnr(index); // infinite when the last sigma is 0
        var order = OrderOf(index);
        var update = DpmSolverUpdate.Of(scheduler.AlgorithmType, now, after, h, isThird: order == 3, isHeun: order == 2 && scheduler.SolverType == "heun");
        if (order == 1)
        {
            return (update.Latents, [update.Value], update.Noise);
        }

        var ratio0 = (LogSnr(index) - LogSnr(index - 1)) / h;
        if (order == 2)
        {
            // D1 = (m0 - m1) / r0
            return (update.Latents, [update.Value + (update.Slope / ratio0), -update.Slope / ratio0], update.Noise);
        }

        // D1_0 = (m0 - m1) / r0, D1_1 = (m1 - m2) / r1, D1 = D1_0 + r0 / (r0 + r1) (D1_0 - D1_1), D2 = (D1_0 - D1_1) / (r0 + r1)
        var ratio1 = (LogSnr(index - 1) - LogSnr(index - 2)) / h;
        var (first, second) = (update.Slope, update.Curvature);
        var newer = first + (((first * ratio0) + second) / (ratio0 + ratio1)); // factor of D1_0
        var older = -((first * ratio0) + second) / (ratio0 + ratio1);          // factor of D1_1
        return (update.Latents, [
            update.Value + (newer / ratio0),
            (-newer / ratio0) + (older / ratio1),
            -older / ratio1], update.Noise);
    }

    private double LogSnr(int index)
    {
        var (alpha, sigma) = scheduler.FactorsOf(Sigmas[index]);
        return Math.Log(alpha) - Math.Log(sigma);
    }

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

/// <summary>One step's factors: of the latents, of the newest prediction, of its first and second divided differences, and of fresh noise.</summary>
internal readonly record struct DpmSolverUpdate(double Latents, double Value, double Slope, double Curvature, double Noise)
{
    /// <param name="algorithm">algorithm_type.</param>
    /// <param name="now">α and σ before the step.</param>
    /// <param name="after">α and σ behind it; σ may be 0 for "++".</param>
    /// <param name="h">Step of ln(α / σ).</param>
    /// <param name="isThird">Whether the step is of third order.</param>
    /// <param name="isHeun">Heun's slope at second order; the midpoint's otherwise. Third order has one slope.</param>
    public static DpmSolverUpdate Of(string algorithm, (double Alpha, double Sigma) now, (double Alpha, double Sigma) after, double h, bool isThird, bool isHeun)
    {
        var exact = isThird || isHeun;
        switch (algorithm)
        {
            case "dpmsolver++":
            {
                var decay = after.Sigma == 0 ? -1 : Math.Exp(-h) - 1; // e^-h - 1
                return new DpmSolverUpdate(
                    after.Sigma / now.Sigma, -after.Alpha * decay, exact ? after.Alpha * ((decay / h) + 1) : -0.5 * after.Alpha * decay,
                    -after.Alpha * (((decay + h) / (h * h)) - 0.5), 0);
            }

            case "dpmsolver":
            {
                var growth = Math.Exp(h) - 1;
                return new DpmSolverUpdate(
                    after.Alpha / now.Alpha, -after.Sigma * growth, exact ? -after.Sigma * ((growth / h) - 1) : -0.5 * after.Sigma * growth,
                    -after.Sigma * (((growth - h) / (h * h)) - 0.5), 0);
            }

            case "sde-dpmsolver++":
            {
                var share = 1 - Math.Exp(-2 * h);
                return new DpmSolverUpdate(
                    after.Sigma / now.Sigma * Math.Exp(-h), after.Alpha * share, exact ? after.Alpha * ((share / (-2 * h)) + 1) : 0.5 * after.Alpha * share,
                    after.Alpha * (((share - (2 * h)) / (4 * h * h)) - 0.5), after.Sigma * Math.Sqrt(share));
            }

            default:
            {
                var growth = Math.Exp(h) - 1;
                return new DpmSolverUpdate(
                    after.Alpha / now.Alpha, -2 * after.Sigma * growth, isHeun ? -2 * after.Sigma * ((growth / h) - 1) : -after.Sigma * growth,
                    0, after.Sigma * Math.Sqrt(Math.Exp(2 * h) - 1));
            }
        }
    }
}
