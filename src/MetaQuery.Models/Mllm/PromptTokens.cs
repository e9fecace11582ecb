using MetaQuery.Models.Vision;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Pictures among a prompt's tokens.</summary>
/// <param name="Start">Index of the picture's first token.</param>
/// <param name="Features">Stay the caller's.</param>
public sealed record PlacedImage(int Start, ImageFeatures Features);

/// <summary>A prompt as a decoder reads it: ids, and states where pictures stand.</summary>
/// <param name="Ids">A picture's token once for each of its states.</param>
/// <param name="Images">In their order, one behind the other.</param>
public sealed record PromptTokens(long[] Ids, IReadOnlyList<PlacedImage> Images)
{
    public PromptTokens(long[] ids) : this(ids, []) { }

    /// <summary>Repeats each picture's token, of which a template writes one, once for each of its states.</summary>
    /// <param name="ids">The prompt's.</param>
    /// <param name="imageTokenId">A picture's token.</param>
    /// <exception cref="ArgumentException">The prompt has another number of pictures' tokens than there are pictures.</exception>
    public static PromptTokens Expand(IReadOnlyList<long> ids, long imageTokenId, IReadOnlyList<ImageFeatures> images)
    {
        ArgumentNullException.ThrowIfNull(ids);
        ArgumentNullException.ThrowIfNull(images);
        var places = ids.Count(id => id == imageTokenId);
        if (places != images.Count)
            throw new ArgumentException($"the prompt has places for {places} pictures, there are {images.Count}", nameof(images));
        var expanded = new List<long>(ids.Count + (int)images.Sum(image => image.Tokens));
        var placed = new List<PlacedImage>(images.Count);
        foreach (var id in ids)
        {
            if (id != imageTokenId)
            {
                expanded.Add(id);
                continue;
            }

            var image = new PlacedImage(expanded.Count, images[placed.Count]);
            placed.Add(image);
            expanded.AddRange(Enumerable.Repeat(id, checked((int)image.Features.Tokens)));
        }

        return new PromptTokens([.. expanded], placed);
    }

    /// <summary>The tokens from an index on, as after a prefix that is cached.</summary>
    /// <exception cref="ArgumentException">A picture stands before it.</exception>
    public PromptTokens From(int start) => Images.All(image => image.Start >= start)
        ? new PromptTokens(Ids[start..], [.. Images.Select(image => image with { Start = image.Start - start })])
        : throw new ArgumentException($"a picture stands before token {start}", nameof(start));

    /// <returns>[tokens, C], float32: rows of the decoder's table, and pictures' states.</returns>
    public Tensor Embed(CausalDecoder decoder)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        using var scope = NewDisposeScope();
        var parts = new List<Tensor>();
        var read = 0;
        foreach (var image in Images)
        {
            Text(image.Start);
            parts.Add(image.Features.States);
            read = image.Start + checked((int)image.Features.Tokens);
        }

        Text(Ids.Length);
        return (parts.Count == 1 ? parts[0] : cat(parts, 0)).MoveToOuterDisposeScope();

        void Text(int end)
        {
            if (end > read || Ids.Length == 0)
                parts.Add(decoder.Embed(tensor(Ids[read..end], [1, end - read], device: decoder.Device)).squeeze(0));
        }
    }

    /// <summary>Notes where pictures stand that are counted by row and column.</summary>
    /// <param name="first">Index of the prompt's first token among all.</param>
    public void AddTo(PositionAxes axes, long first)
    {
        ArgumentNullException.ThrowIfNull(axes);
        foreach (var image in Images.Where(image => image.Features.Rows > 0))
            axes.Add(new ImageSpan(first + image.Start, image.Features.Rows, image.Features.Columns));
    }
}
