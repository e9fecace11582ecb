using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>A picture made without a job folder.</summary>
/// <param name="PromptIndex">Which prompt, from 0.</param>
/// <param name="SampleIndex">Which of the prompt's pictures, from 0.</param>
/// <param name="Prompt">The prompt.</param>
/// <param name="Seed">The image's own seed.</param>
/// <param name="Image">The picture.</param>
/// <param name="Encoded">The picture as a file of the asked format, provenance included.</param>
public sealed record GeneratedImage(int PromptIndex, int SampleIndex, string Prompt, ulong Seed, RgbImage Image, byte[] Encoded);
