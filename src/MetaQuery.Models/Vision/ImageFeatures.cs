using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>What a decoder reads in place of a picture.</summary>
/// <param name="States">[tokens, C], float32, C being the decoder's hidden size; owned.</param>
/// <param name="Rows">Of the grid that the tokens stand in, row by row; 0 where a decoder counts them like text.</param>
/// <param name="Columns">Of that grid.</param>
public sealed record ImageFeatures(Tensor States, long Rows, long Columns) : IDisposable
{
    public long Tokens => States.shape[0];

    /// <summary>Of the states.</summary>
    public long Bytes => States.numel() * States.element_size();

    public void Dispose() => States.Dispose();
}

/// <summary>A picture as a tower reads it: what an image processor has made of its pixels.</summary>
/// <param name="Values">[...], float32; stays the caller's.</param>
/// <param name="Rows">Patches (Qwen2.5-VL) or tiles (LLaVA-OneVision) from top to bottom.</param>
/// <param name="Columns">From left to right.</param>
/// <param name="HeightPixels">Of the picture before the processor.</param>
/// <param name="WidthPixels">Of the picture before the processor.</param>
public sealed record ImageInput(Tensor Values, int Rows, int Columns, int HeightPixels, int WidthPixels);

/// <summary>The part of an MLLM that turns a picture into states among a decoder's tokens.</summary>
/// <remarks>Only read while computing: safe to share between threads. A picture's states depend on it alone.</remarks>
public interface IVisionTower : IDisposable
{
    /// <summary>The token that stands for a picture's states, one for each.</summary>
    long ImageTokenId { get; }

    /// <param name="image">In the layout that the tower's own documentation states.</param>
    /// <param name="observe">Is shown intermediate states, which may change afterwards.</param>
    /// <returns>Owned by the caller.</returns>
    ImageFeatures Encode(ImageInput image, Action<string, Tensor>? observe = null);
}
