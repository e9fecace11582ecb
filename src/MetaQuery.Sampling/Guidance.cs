using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling;

/// <summary>
/// Classifier-free guidance. A guided batch is branch-major: all rows without a condition, then (three branches) all rows with
/// the images alone, then all rows with the whole condition.
/// Multiplications and additions are separate operators throughout: a fused multiply-add in a vector loop and its scalar
/// tail round differently, and an image would then depend on its position in the batch.
/// </summary>
public static class Guidance
{
    /// <summary>u + g (c − u).</summary>
    /// <param name="velocities">[2B, ...], float32: all unconditional rows, then all conditional ones.</param>
    /// <param name="guidanceScale">[B, 1, ...] or a scalar, float32.</param>
    /// <returns>[B, ...], float32; the caller owns it.</returns>
    /// <exception cref="ArgumentException">The number of rows is odd.</exception>
    public static Tensor TwoBranches(Tensor velocities, Tensor guidanceScale)
    {
        var rows = BranchRows(velocities, 2);
        using var unconditional = velocities.narrow(0, 0, rows);
        using var conditional = velocities.narrow(0, rows, rows);
        using var difference = conditional - unconditional;
        using var scaled = difference * guidanceScale;
        return unconditional + scaled;
    }

    /// <summary>u + gi (ui − u) + g (c − ui), where ui has the input images and an empty prompt.</summary>
    /// <param name="velocities">[3B, ...], float32: u, then ui, then c.</param>
    /// <param name="guidanceScale">g: [B, 1, ...] or a scalar, float32.</param>
    /// <param name="imageGuidanceScale">gi: as <paramref name="guidanceScale"/>.</param>
    /// <returns>[B, ...], float32; the caller owns it.</returns>
    /// <exception cref="ArgumentException">The number of rows is not divisible by three.</exception>
    public static Tensor ThreeBranches(Tensor velocities, Tensor guidanceScale, Tensor imageGuidanceScale)
    {
        var rows = BranchRows(velocities, 3);
        using var unconditional = velocities.narrow(0, 0, rows);
        using var imagesOnly = velocities.narrow(0, rows, rows);
        using var conditional = velocities.narrow(0, 2 * rows, rows);
        using var imageDifference = imagesOnly - unconditional;
        using var imageScaled = imageDifference * imageGuidanceScale;
        using var textDifference = conditional - imagesOnly;
        using var textScaled = textDifference * guidanceScale;
        using var towardsImages = unconditional + imageScaled;
        return towardsImages + textScaled;
    }

    private static long BranchRows(Tensor velocities, int branches)
    {
        var rows = velocities.shape[0];
        return rows % branches == 0
            ? rows / branches
            : throw new ArgumentException($"{rows} rows are not divisible by {branches} branches", nameof(velocities));
    }
}
