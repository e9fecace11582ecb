using System.Runtime.InteropServices;
using MetaQuery.Models.Autoencoder;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>The autoencoder's decoder as one slot uses it. For one thread at a time.</summary>
public abstract class LatentDecoder : IDisposable
{
    /// <param name="latents">[B, latent channels, height, width], float32, scaled, on the CPU.</param>
    /// <param name="beforeEach">Called before each picture and each tile of one, of an accelerator's batch before all of it; may throw, which ends it.</param>
    /// <returns>[B, 3, height · ratio, width · ratio], float32, on the CPU, nominally in [-1, 1]; the caller owns it.</returns>
    public abstract Tensor Decode(Tensor latents, Action? beforeEach = null);

    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    protected virtual void Dispose(bool disposing)
    {
    }
}

/// <summary>By the fused kernels, picture by picture, large ones tile by tile.</summary>
internal sealed class FusedLatentDecoder(FusedDecoder decoder, AutoencoderDCConfig config, AutoencoderTiling tiling, int threads) : LatentDecoder
{
    private readonly FusedDecoderWorkspace workspace = new(threads);

    public override Tensor Decode(Tensor latents, Action? beforeEach = null)
    {
        using var scope = NewDisposeScope();
        return torch.cat([.. Enumerable.Range(0, (int)latents.shape[0]).Select(row => DecodeOne(latents.narrow(0, row, 1), beforeEach))], 0).MoveToOuterDisposeScope();
    }

    protected override void Dispose(bool disposing) => workspace.Dispose();

    private Tensor DecodeOne(Tensor latents, Action? beforeEach) => tiling.Cuts(latents, config.SpatialCompressionRatio)
        ? tiling.Decode(latents, config.SpatialCompressionRatio, tile => DecodeWhole(tile, beforeEach)) : DecodeWhole(latents, beforeEach);

    private Tensor DecodeWhole(Tensor latents, Action? beforeEach)
    {
        beforeEach?.Invoke();
        var (height, width, ratio) = ((int)latents.shape[2], (int)latents.shape[3], config.SpatialCompressionRatio);
        using var flat = latents.contiguous();
        var image = empty([1, config.InChannels, height * ratio, width * ratio], dtype: ScalarType.Float32);
        decoder.Decode(MemoryMarshal.Cast<byte, float>(flat.bytes), height, width, MemoryMarshal.Cast<byte, float>(image.bytes), workspace);
        GC.KeepAlive(image);
        return image;
    }
}

/// <summary>By plain tensor operators: picture by picture on the CPU, whose convolutions may round otherwise for another batch size.</summary>
internal sealed class PlainLatentDecoder(Func<Tensor, Action?, Tensor> decode, Device device) : LatentDecoder
{
    public override Tensor Decode(Tensor latents, Action? beforeEach = null)
    {
        using var scope = NewDisposeScope();
        if (device.type != DeviceType.CPU)
        {
            return decode(latents.to(device), beforeEach).cpu().MoveToOuterDisposeScope();
        }

        var images = Enumerable.Range(0, (int)latents.shape[0]).Select(row => decode(latents.narrow(0, row, 1), beforeEach)).ToArray();
        return torch.cat(images, 0).MoveToOuterDisposeScope();
    }
}
