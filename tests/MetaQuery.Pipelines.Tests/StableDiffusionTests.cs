using MetaQuery.Imaging;
using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Sampling;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

/// <summary>The SD 1.5 variant from a model folder with unet/, and pictures in tiles, on the golden case's tiny weights.</summary>
[LeakCheck]
public sealed class StableDiffusionTests : IDisposable
{
    private const int Tokens = 7;
    private const int Channels = 24;

    private static readonly string Golden = Path.Combine(RepositoryFolders.VisibleFixtures, "diffusion", "metaquery-sampling", "sd15");

    private readonly string _folder = Directory.CreateTempSubdirectory("metaquery-sd-").FullName;

    public StableDiffusionTests()
    {
        Configure("\"condition_channels\": 24");
        // The half that makes conditions is not opened here.
        File.WriteAllText(Path.Combine(_folder, "mllm.gguf"), "");
        File.WriteAllText(Path.Combine(_folder, "metaquery.safetensors"), "\u0002\0\0\0\0\0\0\0{}");
        foreach (var part in new[] { "unet", "vae", "scheduler" })
        {
            Directory.CreateDirectory(Path.Combine(_folder, part));
            foreach (var file in Directory.GetFiles(Path.Combine(Golden, part)))
            {
                File.Copy(file, Path.Combine(_folder, part, Path.GetFileName(file)));
            }
        }
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    private void Configure(string line) => File.WriteAllText(
        Path.Combine(_folder, "config.json"), $$"""{"model_type": "metaquery", "mllm": "mllm.gguf", "num_metaqueries": 7, "loss_type": "diff", {{line}}}""");

    private static byte[] Condition(int seed)
    {
        var random = new Random(seed);
        var bytes = new byte[Tokens * Channels * 2];
        for (var i = 0; i < bytes.Length; i += 2)
        {
            var value = BitConverter.SingleToUInt32Bits((random.NextSingle() * 4) - 2);
            (bytes[i], bytes[i + 1]) = ((byte)(value >> 16), (byte)(value >> 24));
        }

        return bytes;
    }

    private static ImageRow Row(int prompt, ulong seed, float guidance = 3) => new(Condition(prompt), Condition(0), guidance, seed);

    private static ImageBatch Batch(int batchSize, params ImageRow[] rows) => new(16, 20, 4, batchSize, rows);

    [Fact]
    public void A_folder_with_a_unet_opens_and_samples_with_DPM_Solver_though_its_file_names_PNDM()
    {
        var folder = MetaQueryModelFolder.Open(_folder);
        Assert.EndsWith("unet", folder.NetworkFolder, StringComparison.Ordinal);
        Assert.Contains(folder.Files, file => file.Path == "unet/diffusion_pytorch_model.safetensors");
        using var model = ImageModel.Load(folder);
        Assert.IsType<DpmSolverMultistepScheduler>(model.Scheduler);
        Assert.Equal((4, Channels, 8, 2), (model.LatentChannels, model.ConditionChannels, model.LatentSize, model.PixelsPerLatent));
        Assert.Equal((2, 16, 2048), (model.SizeMultiplePixels, model.DefaultSizePixels, model.MaxSidePixelsAllowed));
        Assert.Equal("plain", model.KernelPath);
    }

    [Theory]
    [InlineData(ScalarType.Float32)]
    [InlineData(ScalarType.BFloat16)]
    public void An_image_has_the_same_bytes_alone_in_any_batch_and_at_any_position(ScalarType dtype)
    {
        using var model = ImageModel.Load(MetaQueryModelFolder.Open(_folder), new ImageModelOptions { Dtype = dtype });
        using var denoiser = new ImageDenoiser(model);
        var wanted = Row(prompt: 1, seed: 42);
        var alone = denoiser.Denoise(Batch(4, wanted))[0];
        Assert.Equal((20, 16), (alone.WidthPixels, alone.HeightPixels));
        Assert.Equal(alone.Pixels, denoiser.Denoise(Batch(4, wanted, Row(2, 1), Row(3, 2, guidance: 2)))[0].Pixels);
        Assert.Equal(alone.Pixels, denoiser.Denoise(Batch(4, Row(1, 7), Row(2, 42), Row(5, 1, guidance: 1), wanted))[3].Pixels);
        using var another = new ImageDenoiser(model);
        Assert.Equal(alone.Pixels, another.Denoise(Batch(4, wanted))[0].Pixels);
        foreach (var other in new[] { Row(1, 43), Row(2, 42), Row(1, 42, guidance: 2.9f), Row(1, 42, guidance: 1) })
        {
            Assert.NotEqual(alone.Pixels, denoiser.Denoise(Batch(4, other))[0].Pixels);
        }
    }

    [Fact]
    public void Two_slots_of_one_model_make_the_bytes_of_one()
    {
        using var model = ImageModel.Load(MetaQueryModelFolder.Open(_folder));
        using var denoiser = new ImageDenoiser(model);
        var expected = denoiser.Denoise(Batch(2, Row(1, 1), Row(2, 2))).Select(image => image.Pixels).ToArray();
        var pictures = new IReadOnlyList<RgbImage>[2];
        var threads = Enumerable.Range(0, 2).Select(slot => new Thread(() =>
        {
            using var own = new ImageDenoiser(model);
            pictures[slot] = own.Denoise(Batch(2, Row(1, 1), Row(2, 2)));
        })).ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        Assert.All(pictures, picture => Assert.Equal(expected, picture.Select(image => image.Pixels)));
    }

    [Fact]
    public void A_solver_that_adds_noise_takes_it_from_the_images_own_seed()
    {
        File.WriteAllText(
            Path.Combine(_folder, "scheduler", "scheduler_config.json"),
            """{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}""");
        using var model = ImageModel.Load(MetaQueryModelFolder.Open(_folder));
        using var denoiser = new ImageDenoiser(model);
        var alone = denoiser.Denoise(Batch(3, Row(1, 42)))[0].Pixels;
        Assert.Equal(alone, denoiser.Denoise(Batch(3, Row(2, 7), Row(1, 42)))[1].Pixels);
        Assert.NotEqual(alone, denoiser.Denoise(Batch(3, Row(1, 43)))[0].Pixels);
    }

    [Fact]
    public void Parts_that_do_not_fit_or_are_not_known_are_refused_in_one_line()
    {
        var nano = MetaQueryModelFolder.Open(RepositoryFolders.NanoModel);
        Refused<CheckpointException>("latents of 4 channels do not fit the autoencoder's", () => ImageModel.Load(
            Path.Combine(_folder, "unet"), nano.VaeFolder, nano.SchedulerFolder));
        Refused<CheckpointException>("expected AutoencoderDC or AutoencoderKL", () => ImageModel.Load(
            Path.Combine(_folder, "unet"), Path.Combine(_folder, "unet"), nano.SchedulerFolder));
        Directory.CreateDirectory(Path.Combine(_folder, "transformer"));
        File.Copy(Path.Combine(nano.NetworkFolder, "config.json"), Path.Combine(_folder, "transformer", "config.json"));
        Refused<CheckpointException>("both transformer/ and unet/", () => MetaQueryModelFolder.Open(_folder));
        Directory.Delete(Path.Combine(_folder, "unet"), recursive: true);
        Directory.Delete(Path.Combine(_folder, "transformer"), recursive: true);
        Refused<CheckpointException>("transformer/config.json is missing", () => MetaQueryModelFolder.Open(_folder));
    }

    [Theory]
    [InlineData("condition_channels", 768, "24")]
    [InlineData("in_channels", 16, "4")]
    [InlineData("vae_downsample_f", 8, "2")]
    public void A_folder_that_states_other_sizes_than_its_parts_have_is_refused_with_both(string key, int stated, string found)
    {
        Configure($"\"{key}\": {stated}");
        Refused<CheckpointException>($"{key} = {stated}, this network and the autoencoder have {found}", () => ImageModel.Load(MetaQueryModelFolder.Open(_folder)));
    }

    [Fact]
    public void The_folders_input_size_is_the_size_unless_asked_otherwise()
    {
        Configure("\"input_size\": 12");
        using var model = ImageModel.Load(MetaQueryModelFolder.Open(_folder));
        Assert.Equal((12, 24), (model.LatentSize, model.DefaultSizePixels));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_large_picture_is_decoded_in_tiles_and_a_small_one_is_not(bool fused)
    {
        using var scope = NewDisposeScope();
        var options = new ImageModelOptions { AllowFused = fused, Tiling = new AutoencoderTiling(64, 64, 48, 48) };
        using var model = ImageModel.Load(MetaQueryModelFolder.Open(RepositoryFolders.NanoModel), options);
        using var usual = ImageModel.Load(MetaQueryModelFolder.Open(RepositoryFolders.NanoModel), options with { Tiling = new ImageModelOptions().Tiling });
        using var tiling = model.CreateDecoder(threads: 1);
        using var whole = usual.CreateDecoder(threads: 1);
        Assert.Equal(4096, model.MaxSidePixelsAllowed);
        var latents = CounterNoise.Latents([1, 2], model.LatentChannels, 8, 8);
        Assert.Equal(whole.Decode(latents).data<float>().ToArray(), tiling.Decode(latents).data<float>().ToArray());

        var large = CounterNoise.Latents([1, 2], model.LatentChannels, 11, 14);
        var picture = tiling.Decode(large);
        Assert.Equal([2, 3, 88, 112], picture.shape);
        // The first 48 pixels each way are the first tile's own.
        var first = whole.Decode(large.narrow(2, 0, 8).narrow(3, 0, 8)).narrow(2, 0, 48).narrow(3, 0, 48);
        Assert.Equal(first.contiguous().data<float>().ToArray(), picture.narrow(2, 0, 48).narrow(3, 0, 48).contiguous().data<float>().ToArray());
        var alone = tiling.Decode(large.narrow(0, 1, 1));
        Assert.Equal(alone.data<float>().ToArray(), picture.narrow(0, 1, 1).contiguous().data<float>().ToArray());
    }

    private static void Refused<TException>(string reason, Func<object> open)
        where TException : Exception
    {
        var error = Assert.Throws<TException>(open);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }
}
