using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>Where a picture stands among a sequence's tokens.</summary>
/// <param name="Start">Index of its first token, padding not counted.</param>
/// <param name="Rows">Of its grid of tokens.</param>
/// <param name="Columns">Of its grid of tokens.</param>
public readonly record struct ImageSpan(long Start, long Rows, long Columns)
{
    public long Tokens => Rows * Columns;
}

/// <summary>Positions of a sequence on the axes time, height and width, as Qwen2.5-VL counts them (transformers 4.49, get_rope_index): text goes on
/// along all three at once; a still picture stands at one time, its tokens at their row and column; what follows goes on behind the largest of them.</summary>
public sealed class PositionAxes
{
    /// <summary>Time, height, width.</summary>
    public const int Count = 3;

    private readonly List<ImageSpan> _spans = [];

    /// <summary>Adds a picture behind the ones before.</summary>
    /// <exception cref="ArgumentException">It begins before the last one's end, or is empty.</exception>
    public void Add(ImageSpan span)
    {
        var end = _spans.Count == 0 ? 0 : _spans[^1].Start + _spans[^1].Tokens;
        if (span.Start < end || span.Rows < 1 || span.Columns < 1)
            throw new ArgumentException($"a picture of {span.Rows} x {span.Columns} tokens at {span.Start}, the one before ends at {end}", nameof(span));
        _spans.Add(span);
    }

    /// <summary>Forgets the pictures that do not end within the first <paramref name="length"/> tokens.</summary>
    public void Truncate(long length) => _spans.RemoveAll(span => span.Start + span.Tokens > length);

    /// <summary>Whether there is a picture: on text alone the axes agree, and a token's position is its index.</summary>
    public bool HasImages => _spans.Count > 0;

    /// <summary>How far the position of a text token behind all pictures is from its index: a picture takes more tokens than positions.</summary>
    public long Delta => _spans.Sum(span => Math.Max(span.Rows, span.Columns) - span.Tokens);

    /// <param name="first">Index of the first token asked for.</param>
    /// <param name="count">How many.</param>
    /// <returns>[3, count], int64.</returns>
    public Tensor Of(long first, long count)
    {
        var axes = new long[Count * count];
        for (var axis = 0; axis < Count; axis++)
            Fill(axes.AsSpan((int)(axis * count), (int)count), first, axis);
        return tensor(axes, [Count, count]);
    }

    private void Fill(Span<long> positions, long first, int axis)
    {
        long delta = 0;
        var next = 0;
        for (var i = 0; i < positions.Length; i++)
        {
            var index = first + i;
            while (next < _spans.Count && index >= _spans[next].Start + _spans[next].Tokens)
            {
                delta += Math.Max(_spans[next].Rows, _spans[next].Columns) - _spans[next].Tokens;
                next++;
            }

            if (next == _spans.Count || index < _spans[next].Start)
            {
                positions[i] = index + delta;
                continue;
            }

            var (row, column) = Math.DivRem(index - _spans[next].Start, _spans[next].Columns);
            positions[i] = _spans[next].Start + delta + (axis switch { 0 => 0, 1 => row, _ => column });
        }
    }
}
