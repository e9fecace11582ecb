using MetaQuery.Farm;
using MetaQuery.Pipelines;

namespace MetaQuery.Silo;

/// <summary>The farm's view of the condition encoder, which all slots share.</summary>
internal sealed class EncoderHalf(ConditionEncoder encoder, ConditionIdentity identity) : IConditionEncoder
{
    public ConditionIdentity Identity { get; } = identity;

    public IReadOnlyList<byte[]> Encode(IReadOnlyList<ConditionRequest> requests, CancellationToken cancellationToken)
    {
        if (requests.Any(request => request.ImageHashes.Count > 0))
        {
            throw new NotSupportedException("pictures in a prompt are not supported by this model");
        }

        return encoder.Encode([.. requests.Select(request => request.Caption)], cancellationToken);
    }
}
