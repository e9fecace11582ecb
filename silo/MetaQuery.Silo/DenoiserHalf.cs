using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Pipelines;

namespace MetaQuery.Silo;

/// <summary>The farm's view of one slot's denoiser.</summary>
internal sealed class DenoiserHalf(ImageDenoiser denoiser, ImageModelInfo info) : IImageDenoiser, IDisposable
{
    public ImageModelInfo Info { get; } = info;

    public IReadOnlyList<RgbImage> Denoise(DenoiseBatch batch, CancellationToken cancellationToken) => denoiser.Denoise(
        new ImageBatch(batch.HeightPixels, batch.WidthPixels, batch.NumInferenceSteps, batch.BatchSize,
        [
            .. batch.Rows.Select(row => new ImageRow(row.Condition, row.NegativeCondition, row.GuidanceScale, row.Seed)
            {
                ImageCondition = row.ImageCondition,
                ImageGuidanceScale = row.ImageGuidanceScale,
            }),
        ])
        {
            ThreeBranches = batch.ThreeBranches,
        },
        progress: null, cancellationToken);

    public void Dispose() => denoiser.Dispose();
}
