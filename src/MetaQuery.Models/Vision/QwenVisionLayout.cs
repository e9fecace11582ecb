using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>How the patches of one picture lie in Qwen2.5-VL's tower: in which order, in which windows, at which angles
/// (transformers 4.49, modeling_qwen2_5_vl.py: get_window_index, rot_pos_emb).</summary>
public sealed class QwenVisionLayout
{
    private const double RotaryTheta = 10000; // Qwen2_5_VisionRotaryEmbedding's default, which the tower never changes
    private readonly QwenVisionConfig _config;

    /// <param name="rows">Patches from top to bottom.</param>
    /// <param name="columns">Patches from left to right.</param>
    /// <exception cref="ArgumentException">They are not whole numbers of tokens.</exception>
    public QwenVisionLayout(QwenVisionConfig config, int rows, int columns)
    {
        ArgumentNullException.ThrowIfNull(config);
        var merge = config.SpatialMergeSize;
        if (rows < 1 || columns < 1 || rows % merge != 0 || columns % merge != 0)
            throw new ArgumentException($"a grid of {rows} x {columns} patches is not divisible into tokens of {merge} x {merge}", nameof(rows));
        (_config, TokenRows, TokenColumns) = (config, rows / merge, columns / merge);
        (WindowIndex, WindowOffsets) = Windows();
    }

    public int TokenRows { get; }

    public int TokenColumns { get; }

    public long Patches => (long)TokenRows * TokenColumns * PatchesPerToken;

    /// <summary>For each token in window order, its place in the picture's order (row by row).</summary>
    public long[] WindowIndex { get; }

    /// <summary>Borders of the windows, in patches: window i is the patches WindowOffsets[i] to WindowOffsets[i + 1] in window order.</summary>
    public long[] WindowOffsets { get; }

    private int PatchesPerToken => _config.SpatialMergeSize * _config.SpatialMergeSize;

    /// <summary>The angles of the patches in window order: half of a head's pairs turn with the row, half with the column.</summary>
    /// <returns>[patches, headSize / 2], float32, on the CPU.</returns>
    public Tensor Angles()
    {
        using var scope = NewDisposeScope();
        var merge = _config.SpatialMergeSize;
        var (rows, columns) = (arange(TokenRows * merge, dtype: ScalarType.Float32), arange(TokenColumns * merge, dtype: ScalarType.Float32));
        var half = _config.HeadSize / 2;
        var frequencies = tensor(Enumerable.Range(0, half / 2).Select(i => 1f / MathF.Pow((float)RotaryTheta, 2f * i / half)).ToArray());
        // Patches lie token by token, a token's own row by row.
        Tensor Ordered(Tensor positions, bool byRow)
        {
            var grid = byRow ? positions.view(-1, 1).expand(TokenRows * merge, TokenColumns * merge) : positions.view(1, -1).expand(TokenRows * merge, TokenColumns * merge);
            return grid.reshape(TokenRows, merge, TokenColumns, merge).permute(0, 2, 1, 3).reshape(TokenRows * TokenColumns, PatchesPerToken);
        }

        var index = tensor(WindowIndex);
        var places = stack([Ordered(rows, byRow: true), Ordered(columns, byRow: false)], -1).index_select(0, index).view(Patches, 2, 1); // row, column
        return (places * frequencies).view(Patches, half).MoveToOuterDisposeScope();
    }

    private (long[] Index, long[] Offsets) Windows()
    {
        var side = _config.WindowTokens;
        var index = new List<long>(TokenRows * TokenColumns);
        var offsets = new List<long> { 0 };
        for (var top = 0; top < TokenRows; top += side)
        {
            for (var left = 0; left < TokenColumns; left += side)
            {
                for (var row = top; row < Math.Min(top + side, TokenRows); row++)
                {
                    for (var column = left; column < Math.Min(left + side, TokenColumns); column++)
                        index.Add(((long)row * TokenColumns) + column);
                }

                offsets.Add((long)index.Count * PatchesPerToken);
            }
        }

        return ([.. index], [.. offsets]);
    }
}
