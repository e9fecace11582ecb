using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Autoencoder;

/// <summary>Large pictures in overlapping tiles, so that memory depends on the tile. Sizes in pixels.</summary>
/// <param name="TileHeightPixels">Tile height; pictures no larger than a tile are not cut.</param>
/// <param name="TileWidthPixels">Tile width.</param>
/// <param name="StrideHeightPixels">From one tile's top to the next one's; the rest of the tile overlaps and is blended.</param>
/// <param name="StrideWidthPixels">From one tile's left edge to the next one's.</param>
public sealed record AutoencoderTiling(int TileHeightPixels, int TileWidthPixels, int StrideHeightPixels, int StrideWidthPixels)
{
    /// <summary>Whether a picture is larger than a tile.</summary>
    /// <param name="x">[B, C, height, width]: pixels or latents.</param>
    /// <param name="ratio">Pixels along a side per position of <paramref name="x"/>.</param>
    public bool Cuts(Tensor x, int ratio) => x.shape[2] > TileHeightPixels / ratio || x.shape[3] > TileWidthPixels / ratio;

    /// <summary>Decodes tile by tile.</summary>
    /// <param name="latents">[B, C, height, width].</param>
    /// <param name="ratio">Pixels along a side per latent.</param>
    /// <param name="run">One tile of latents to its pixels.</param>
    /// <returns>[B, 3, height · ratio, width · ratio]; the caller owns it.</returns>
    /// <exception cref="InvalidOperationException">A stride is not between 1 and its tile.</exception>
    public Tensor Decode(Tensor latents, int ratio, Func<Tensor, Tensor> run)
    {
        Check();
        using var scope = NewDisposeScope();
        var tile = (TileHeightPixels / ratio, TileWidthPixels / ratio);
        var stride = (StrideHeightPixels / ratio, StrideWidthPixels / ratio);
        var overlap = (TileHeightPixels - StrideHeightPixels, TileWidthPixels - StrideWidthPixels);
        return Run(latents, stride, tile, Stride, overlap, run)
            .narrow(2, 0, latents.shape[2] * ratio).narrow(3, 0, latents.shape[3] * ratio).MoveToOuterDisposeScope();
    }

    /// <summary>Encodes tile by tile; a ragged tile at the edge is filled up with zeros.</summary>
    /// <param name="image">[B, 3, height, width].</param>
    /// <param name="ratio">Pixels along a side per latent.</param>
    /// <param name="run">One tile of pixels to its latents.</param>
    /// <returns>[B, C, height / ratio, width / ratio]; the caller owns it.</returns>
    /// <exception cref="InvalidOperationException">A stride is not between 1 and its tile.</exception>
    public Tensor Encode(Tensor image, int ratio, Func<Tensor, Tensor> run)
    {
        Check();
        using var scope = NewDisposeScope();
        var stride = (StrideHeightPixels / ratio, StrideWidthPixels / ratio);
        var overlap = ((TileHeightPixels / ratio) - stride.Item1, (TileWidthPixels / ratio) - stride.Item2);
        return Run(image, Stride, Tile, stride, overlap, tile =>
            {
                var (bottom, right) = (Missing(tile.shape[2], ratio), Missing(tile.shape[3], ratio));
                return bottom == 0 && right == 0 ? run(tile) : run(nn.functional.pad(tile, [0, right, 0, bottom]));
            })
            .narrow(2, 0, image.shape[2] / ratio).narrow(3, 0, image.shape[3] / ratio).MoveToOuterDisposeScope();
    }

    private static long Missing(long length, int ratio) => (ratio - (length % ratio)) % ratio;

    private (int Height, int Width) Tile => (TileHeightPixels, TileWidthPixels);

    private (int Height, int Width) Stride => (StrideHeightPixels, StrideWidthPixels);

    /// <exception cref="InvalidOperationException">A stride is not between 1 and its tile.</exception>
    private void Check()
    {
        if (StrideHeightPixels < 1 || StrideWidthPixels < 1 || StrideHeightPixels > TileHeightPixels || StrideWidthPixels > TileWidthPixels)
        {
            throw new InvalidOperationException(
                $"strides of {StrideHeightPixels} x {StrideWidthPixels} are not between 1 and the tile's {TileHeightPixels} x {TileWidthPixels}");
        }
    }

    /// <summary>
    /// Runs every tile alone and joins the results. Each tile is blended in place with the one above it (already blended), then
    /// with the one on its left, and cut to the stride.
    /// </summary>
    /// <param name="x">[B, C, height, width].</param>
    /// <param name="stride">Of the tiles, in positions of <paramref name="x"/>.</param>
    /// <param name="tile">Of the tiles, in positions of <paramref name="x"/>.</param>
    /// <param name="outputStride">Of the results.</param>
    /// <param name="overlap">Positions of the result that are blended.</param>
    /// <param name="run">One tile to its result; the caller of it disposes of both.</param>
    private static Tensor Run(
        Tensor x, (int Height, int Width) stride, (int Height, int Width) tile,
        (int Height, int Width) outputStride, (int Height, int Width) overlap, Func<Tensor, Tensor> run)
    {
        using var scope = NewDisposeScope();
        var (height, width) = (x.shape[2], x.shape[3]);
        var joined = new List<Tensor>();
        List<Tensor>? above = null;
        for (var top = 0L; top < height; top += stride.Height)
        {
            var row = new List<Tensor>();
            for (var left = 0L; left < width; left += stride.Width)
            {
                using var piece = x.narrow(2, top, Math.Min(tile.Height, height - top)).narrow(3, left, Math.Min(tile.Width, width - left));
                var result = run(piece);
                if (above is not null)
                {
                    result = Blend(above[row.Count], result, overlap.Height, dimension: 2);
                }

                if (row.Count > 0)
                {
                    result = Blend(row[^1], result, overlap.Width, dimension: 3);
                }

                row.Add(result);
            }

            joined.Add(torch.cat(
                [.. row.Select(part => part
                    .narrow(2, 0, Math.Min(outputStride.Height, part.shape[2]))
                    .narrow(3, 0, Math.Min(outputStride.Width, part.shape[3])))],
                3));
            above = row;
        }

        return torch.cat([.. joined], 2).MoveToOuterDisposeScope();
    }

    // The first positions of a tile fade from its neighbour's last ones, weights y / extent.
    private static Tensor Blend(Tensor before, Tensor after, long overlap, int dimension)
    {
        var extent = Math.Min(Math.Min(before.shape[dimension], after.shape[dimension]), overlap);
        if (extent < 1)
        {
            return after;
        }

        var weights = new float[extent];
        for (var i = 0; i < weights.Length; i++)
        {
            weights[i] = (float)((double)i / extent);
        }

        var weight = tensor(weights, dimension == 2 ? [1, 1, extent, 1] : [1, 1, 1, extent]).to(after.device).to(after.dtype);
        var tail = before.narrow(dimension, before.shape[dimension] - extent, extent);
        var head = after.narrow(dimension, 0, extent);
        var blended = (tail * (weight * -1 + 1)) + (head * weight);
        var rest = after.narrow(dimension, extent, after.shape[dimension] - extent);
        return torch.cat([blended, rest], dimension);
    }
}
