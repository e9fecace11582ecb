using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Pipelines;

namespace MetaQuery.Silo;

/// <summary>The farm's view of one slot's denoiser.</summary>
/// <remarks>Where the halves alternate, the slot's own memory (activations, keys and values) goes with each batch, so that the other half finds it free.</remarks>
internal sealed class DenoiserHalf(ModelHalves halves, ImageModelInfo info) : IImageDenoiser, IDisposable
{
    private ImageDenoiser? _lasting;

    public ImageModelInfo Info { get; } = info;

    public IReadOnlyList<RgbImage> Denoise(DenoiseBatch batch, Action? progress, CancellationToken cancellationToken) => halves.Denoise((model, sign) =>
    {
        if (!halves.Alternates)
        {
            return Denoise(_lasting ??= Create(model), batch, sign, cancellationToken);
        }

        using ImageDenoiser passing = Create(model);
        return Denoise(passing, batch, sign, cancellationToken);
    }, progress, cancellationToken);

    public void Dispose() => _lasting?.Dispose();

    private ImageDenoiser Create(ImageModel model) => new(model, new ImageDenoiserOptions(Info.Numerics.ThreadsPerSlot));

    private static IReadOnlyList<RgbImage> Denoise(ImageDenoiser denoiser, DenoiseBatch batch, Action progress, CancellationToken cancellationToken) => denoiser.Denoise(
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
        (_, _) => progress(), cancellationToken);
}
