namespace MetaQuery.Tokenizers.Bpe;

/// <summary>GPT-2's one letter per byte (openai/gpt-2 encoder.py, bytes_to_unicode): printable Latin-1 stands for itself, the other 68 bytes for U+0100 upwards.</summary>
internal static class ByteAlphabet
{
    public static readonly char[] LetterOfByte = MakeLetters();
    private static readonly short[] ByteOfLetter = MakeBytes();

    /// <summary>The byte a letter stands for, or -1.</summary>
    public static int ToByte(char letter) => letter < ByteOfLetter.Length ? ByteOfLetter[letter] : -1;

    private static char[] MakeLetters()
    {
        var letters = new char[256];
        var next = 256;
        for (var value = 0; value < 256; value++)
        {
            var standsForItself = value is >= '!' and <= '~' or >= 0xA1 and <= 0xAC or >= 0xAE;
            letters[value] = (char)(standsForItself ? value : next++);
        }

        return letters;
    }

    private static short[] MakeBytes()
    {
        var bytes = new short[256 + 68];
        Array.Fill(bytes, (short)-1);
        for (var value = 0; value < 256; value++)
        {
            bytes[LetterOfByte[value]] = (short)value;
        }

        return bytes;
    }
}
