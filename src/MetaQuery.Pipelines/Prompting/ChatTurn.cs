namespace MetaQuery.Pipelines;

/// <summary>A turn of a conversation: texts and pictures in the order in which they stand.</summary>
/// <param name="Role">system, user or assistant; what else there is, the checkpoint's template says.</param>
public sealed record ChatTurn(string Role, IReadOnlyList<ChatTurnPart> Parts)
{
    public IEnumerable<PromptImage> Images => Parts.Select(part => part.Image).OfType<PromptImage>();
}

/// <summary>A text or a picture of a turn.</summary>
public sealed record ChatTurnPart
{
    private ChatTurnPart(string? text, PromptImage? image) => (Text, Image) = (text, image);

    public string? Text { get; }

    public PromptImage? Image { get; }

    public static ChatTurnPart Of(string text) => new(text ?? throw new ArgumentNullException(nameof(text)), null);

    public static ChatTurnPart Of(PromptImage image) => new(null, image ?? throw new ArgumentNullException(nameof(image)));
}
