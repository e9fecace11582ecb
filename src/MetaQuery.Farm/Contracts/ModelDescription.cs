namespace MetaQuery.Farm;

/// <summary>A model's two halves as they compute here, known also where the weights of one or both are not loaded.</summary>
/// <param name="Conditions">What makes the conditions.</param>
/// <param name="Images">What makes the pictures.</param>
public sealed record ModelDescription(ConditionIdentity Conditions, ImageModelInfo Images)
{
    /// <summary>Why the model would refuse a picture of this width and height in pixels (null: it takes it). Null itself where it reads no pictures.</summary>
    public Func<int, int, string?>? PictureRefusal { get; init; }

    /// <summary>Halves that compute alike are alike: the rule about pictures follows from the model.</summary>
    public bool Equals(ModelDescription? other) => other is not null && Conditions == other.Conditions && Images == other.Images;

    public override int GetHashCode() => HashCode.Combine(Conditions, Images);

    /// <summary>The lane whose items it can do.</summary>
    public string Lane => WorkLane.Of(Conditions, Images);
}
