using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;

namespace MetaQuery.Models.Tests.Autoencoder;

[LeakCheck]
public sealed class AutoencoderDCConfigTests
{
    [Fact]
    public void A_file_without_values_takes_diffusers_defaults()
    {
        var config = AutoencoderDCConfig.Read(ConfigFile.Parse("config.json", "{}"));
        Assert.Equal((3, 32, 32, 1.0, 32), (config.InChannels, config.LatentChannels, config.AttentionHeadDim, config.ScalingFactor, config.SpatialCompressionRatio));
        Assert.True(config.PixelShuffleUp);
        Assert.True(config.PixelUnshuffleDown);
        foreach (var side in new[] { config.Encoder, config.Decoder })
        {
            Assert.Equal([128, 256, 512, 512, 1024, 1024], side.Channels);
            Assert.All(side.BlockTypes, type => Assert.Equal("ResBlock", type));
            Assert.Equal([0, 0, 0, 1, 1, 1], side.QkvMultiscales.Select(kernels => kernels.Length));
        }

        Assert.Equal([2, 2, 2, 3, 3, 3], config.Encoder.Layers);
        Assert.Equal([3, 3, 3, 3, 3, 3], config.Decoder.Layers);
    }
}
