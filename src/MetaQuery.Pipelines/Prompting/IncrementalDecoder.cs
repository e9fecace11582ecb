using MetaQuery.Tokenizers;

namespace MetaQuery.Pipelines.Prompting;

/// <summary>Tokens to text as they come: a character is given out only when all its bytes are there.</summary>
public sealed class IncrementalDecoder(Tokenizer tokenizer)
{
    private const char Replacement = '\uFFFD'; // what a decoder writes for bytes that are no character (yet)
    private const int LongestCharacterBytes = 4;
    private readonly List<int> _pending = [];

    /// <returns>The text that this token completes; empty while a character is unfinished.</returns>
    public string Add(long id)
    {
        _pending.Add((int)id);
        var text = tokenizer.Decode(_pending);
        // Every token holds a byte at least: after so many the end is not unfinished but wrong, and stays U+FFFD.
        if (text.EndsWith(Replacement) && _pending.Count < LongestCharacterBytes)
            return "";
        _pending.Clear();
        return text;
    }

    /// <returns>What is left when nothing follows any more.</returns>
    public string Finish()
    {
        var text = tokenizer.Decode(_pending);
        _pending.Clear();
        return text;
    }
}
