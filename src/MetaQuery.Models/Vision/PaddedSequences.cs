using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Vision;

/// <summary>Sequences of different lengths, one behind the other in a stream, as the rows of a padded batch. Its tensors belong to the caller's scope.</summary>
internal sealed class PaddedSequences
{
    private readonly long _rows;
    private readonly long _longest;
    private readonly Tensor _gather; // [rows * longest]: the stream's token at each place; padding repeats a row's first
    private readonly Tensor _scatter; // [tokens]: the place of each token
    private readonly Tensor _isToken; // [rows, longest], bool

    /// <param name="offsets">Sequence i is the tokens offsets[i] to offsets[i + 1].</param>
    public PaddedSequences(long[] offsets, Device device)
    {
        _rows = offsets.Length - 1;
        var lengths = offsets.Zip(offsets.Skip(1), (first, next) => next - first).ToArray();
        _longest = lengths.Max();
        using var scope = NewDisposeScope();
        var places = arange(_longest, dtype: ScalarType.Int64).unsqueeze(0);
        var inside = places < tensor(lengths).unsqueeze(1);
        var first = tensor(offsets).narrow(0, 0, _rows).unsqueeze(1);
        _isToken = inside.to(device).MoveToOuterDisposeScope();
        _gather = (first + (places * inside.to(ScalarType.Int64))).reshape(-1).to(device).MoveToOuterDisposeScope();
        _scatter = inside.reshape(-1).nonzero().squeeze(1).to(device).MoveToOuterDisposeScope();
    }

    /// <param name="x">[tokens, ...].</param>
    /// <returns>[rows, longest, ...].</returns>
    public Tensor Pad(Tensor x)
    {
        using var scope = NewDisposeScope();
        return x.index_select(0, _gather).view([_rows, _longest, .. x.shape.AsSpan(1)]).MoveToOuterDisposeScope();
    }

    /// <param name="x">[rows, longest, C].</param>
    /// <returns>[tokens, C].</returns>
    public Tensor Unpad(Tensor x)
    {
        using var scope = NewDisposeScope();
        return x.flatten(0, 1).index_select(0, _scatter).MoveToOuterDisposeScope();
    }

    /// <returns>[rows, 1, 1, longest], float32: minus infinity at padding.</returns>
    public Tensor Mask()
    {
        using var scope = NewDisposeScope();
        return zeros([_rows, 1, 1, _longest], dtype: ScalarType.Float32, device: _isToken.device)
            .masked_fill(_isToken.logical_not().view(_rows, 1, 1, _longest), float.NegativeInfinity).MoveToOuterDisposeScope();
    }
}
