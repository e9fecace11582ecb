namespace MetaQuery.Farm;

/// <summary>A model's two halves as they compute here, known also where the weights of one or both are not loaded.</summary>
/// <param name="Conditions">What makes the conditions.</param>
/// <param name="Images">What makes the pictures.</param>
public sealed record ModelDescription(ConditionIdentity Conditions, ImageModelInfo Images)
{
    /// <summary>The lane whose items it can do.</summary>
    public string Lane => WorkLane.Of(Conditions, Images);
}
