namespace MetaQuery.Tokenizers.PreTokenizers;

/// <summary>Cuts text into the words that merges never cross.</summary>
internal abstract class PreTokenizer
{
    /// <summary>Appends the pieces of <paramref name="text"/> in order; text between pieces is dropped.</summary>
    /// <param name="text">The whole text the patterns may look at.</param>
    /// <param name="offset">Added to each piece's start.</param>
    /// <param name="pieces">(start, length) in chars.</param>
    public abstract void Split(ReadOnlySpan<char> text, int offset, List<(int Start, int Length)> pieces);
}

/// <summary>One pre-tokeniser after the other: each sees a piece of the one before as its whole text.</summary>
internal sealed class PreTokenizerSequence(IReadOnlyList<PreTokenizer> stages) : PreTokenizer
{
    public override void Split(ReadOnlySpan<char> text, int offset, List<(int Start, int Length)> pieces)
    {
        var current = new List<(int Start, int Length)> { (0, text.Length) };
        foreach (var stage in stages)
        {
            var next = new List<(int Start, int Length)>(current.Count);
            foreach (var (start, length) in current)
            {
                stage.Split(text.Slice(start, length), start, next);
            }

            current = next;
        }

        foreach (var (start, length) in current)
        {
            pieces.Add((start + offset, length));
        }
    }
}

/// <summary>A pre-tokeniser whose pieces tile the text, found by one scan from left to right.</summary>
internal abstract class Scanner : PreTokenizer
{
    public sealed override void Split(ReadOnlySpan<char> text, int offset, List<(int Start, int Length)> pieces)
    {
        for (var start = 0; start < text.Length;)
        {
            var end = PieceEnd(text, start);
            pieces.Add((start + offset, end - start));
            start = end;
        }
    }

    protected abstract int PieceEnd(ReadOnlySpan<char> text, int start);
}
