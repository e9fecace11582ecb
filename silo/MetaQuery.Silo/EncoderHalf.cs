using MetaQuery.Farm;
using MetaQuery.Pipelines;

namespace MetaQuery.Silo;

/// <summary>The farm's view of the condition encoder, which all slots share.</summary>
/// <param name="halves">Hold the encoder.</param>
/// <param name="identity">Of its conditions.</param>
/// <param name="pictures">Where prompts' pictures are; null where there are none.</param>
internal sealed class EncoderHalf(ModelHalves halves, ConditionIdentity identity, IPictureSource? pictures) : IConditionEncoder
{
    public ConditionIdentity Identity { get; } = identity;

    public IReadOnlyList<byte[]> Encode(IReadOnlyList<ConditionRequest> requests, Action? progress, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(requests);
        ConditionPrompt[] prompts = [.. requests.Select(request => new ConditionPrompt(request.Caption, [.. request.ImageHashes.Select(Picture)]))];
        return halves.Encode((encoder, sign) => encoder.Encode(prompts, sign, cancellationToken), progress, cancellationToken);
    }

    private PromptImage Picture(string name) => BlackPicture.TryParse(name, out int width, out int height)
        ? PromptImage.Black(width, height)
        : PromptImage.OfStored(
            name, () => (pictures ?? throw new PictureException($"picture {name} cannot be had: this process was given no folder of pictures")).Read(name), PictureLimits.MaxPixels);
}
