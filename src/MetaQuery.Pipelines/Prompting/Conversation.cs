using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;

namespace MetaQuery.Pipelines.Prompting;

/// <param name="Number">Of the picture in this session.</param>
internal sealed record SeenImage(long Number, ImageFeatures Features);

/// <summary>The whole text of a conversation, to which an answer's tokens are added.</summary>
internal sealed class Conversation
{
    private readonly List<long> _ids;
    private readonly IReadOnlyList<PlacedImage> _placed;

    public Conversation(IReadOnlyList<int> ids, long? imageTokenId, List<SeenImage> images)
    {
        long[] wide = [.. ids.Select(id => (long)id)];
        var prompt = imageTokenId is { } token ? PromptTokens.Expand(wide, token, [.. images.Select(image => image.Features)]) : new PromptTokens(wide);
        (_ids, _placed) = ([.. prompt.Ids], prompt.Images);
        Keys = [.. prompt.Ids];
        foreach (var (place, image) in prompt.Images.Zip(images))
        {
            for (var i = 0; i < place.Features.Tokens; i++)
                Keys[place.Start + i] = -image.Number;
        }
    }

    /// <summary>Ids, and the negative numbers of pictures.</summary>
    public List<long> Keys { get; }

    public int Count => _ids.Count;

    public void Add(long id)
    {
        _ids.Add(id);
        Keys.Add(id);
    }

    /// <returns>How many tokens at the beginning are those that were read; a token is always left, and a picture is never cut.</returns>
    public int SameAs(List<long> read)
    {
        var same = read.Zip(Keys).TakeWhile(pair => pair.First == pair.Second).Count();
        same = Math.Min(same, Keys.Count - 1);
        return _placed.FirstOrDefault(image => image.Start < same && same < image.Start + image.Features.Tokens)?.Start ?? same;
    }

    /// <returns>Where a piece of at most so many tokens ends, or behind the picture that it would cut.</returns>
    public int PieceEnd(int start, int mostTokens)
    {
        var end = Math.Min(start + mostTokens, Count);
        return _placed.FirstOrDefault(image => image.Start < end && end < image.Start + image.Features.Tokens) is { } cut ? cut.Start + checked((int)cut.Features.Tokens) : end;
    }

    public PromptTokens Between(int start, int end) =>
        new([.. _ids[start..end]], [.. _placed.Where(image => image.Start >= start && image.Start < end).Select(image => image with { Start = image.Start - start })]);
}
