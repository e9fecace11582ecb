using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>How far predicted clean values may go: dynamic thresholding (Imagen, arXiv 2205.11487), plain clipping, or anywhere.</summary>
internal sealed class SampleLimits
{
    private readonly bool thresholding;
    private readonly double ratio;
    private readonly double largest;
    private readonly double? clip;

    /// <param name="config">thresholding, dynamic_thresholding_ratio, sample_max_value; clip_sample and clip_sample_range.</param>
    /// <param name="clips">Whether the scheduler knows clip_sample, which is true there unless the file says otherwise.</param>
    /// <exception cref="SchedulerException">A value makes no sense.</exception>
    public SampleLimits(SchedulerConfig config, bool clips)
    {
        thresholding = config.Flag("thresholding", false);
        ratio = config.Number("dynamic_thresholding_ratio", 0.995);
        largest = config.Number("sample_max_value", 1.0);
        clip = clips && config.Flag("clip_sample", true) ? config.Number("clip_sample_range", 1.0) : null;
        if (!(ratio is >= 0 and <= 1) || clip <= 0)
        {
            throw new SchedulerException(
                $"scheduler_config.json: dynamic_thresholding_ratio is {ratio} and clip_sample_range {clip}, expected a share of 0 to 1 and a number above 0");
        }
    }

    /// <summary>Whether there are any.</summary>
    public bool AreSet => thresholding || clip is not null;

    /// <param name="cleanLatents">x₀, [B, ...], float32; given back here.</param>
    /// <returns>The same within the limits; the caller owns it.</returns>
    public Tensor Apply(Tensor cleanLatents)
    {
        if (!AreSet)
        {
            return cleanLatents;
        }

        using var given = cleanLatents;
        if (!thresholding)
        {
            return given.clamp(-clip!.Value, clip.Value);
        }

        using var scope = NewDisposeScope();
        var rows = given.shape[0];
        var sorted = given.abs().reshape(rows, -1).sort(-1).Values;
        var rank = ratio * (sorted.shape[1] - 1);
        var below = (long)Math.Floor(rank);
        var above = Math.Min(below + 1, sorted.shape[1] - 1);
        var lower = sorted.narrow(1, below, 1);
        var limit = lower + ((sorted.narrow(1, above, 1) - lower) * (float)(rank - below));
        // Below 1 it would be plain clipping to [-1, 1].
        limit = limit.clamp(1.0, Math.Max(largest, 1.0)).reshape([rows, .. Enumerable.Repeat(1L, given.shape.Length - 1)]);
        return (torch.minimum(torch.maximum(given, limit * -1), limit) / limit).MoveToOuterDisposeScope();
    }
}
