using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>A picture made without a job folder.</summary>
/// <param name="PromptIndex">Which prompt, from 0.</param>
/// <param name="SampleIndex">Which of the prompt's pictures, from 0.</param>
/// <param name="Prompt">The prompt.</param>
/// <param name="Encoded">The picture as a file of the asked format, provenance and seed included.</param>
public sealed record GeneratedImage(int PromptIndex, int SampleIndex, string Prompt, byte[] Encoded)
{
    /// <summary>The picture, decoded from its file at each call.</summary>
    public RgbImage Image => ImageDecoder.Decode(Encoded);
}
