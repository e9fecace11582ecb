using MetaQuery.Pipelines;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

/// <summary>The default model's second half, on conditions made up here: what is asked of it holds for any condition.</summary>
[LeakCheck]
public sealed class ImageDenoiserTests
{
    private const int Tokens = 16;
    private const int Channels = 320;

    private static ImageModel Load(bool fused = true, ScalarType dtype = ScalarType.Float32) =>
        ImageModel.Load(MetaQueryModelFolder.Open(RepositoryFolders.NanoModel), new ImageModelOptions { AllowFused = fused, Dtype = dtype });

    private static byte[] Condition(int seed)
    {
        var random = new Random(seed);
        var bytes = new byte[Tokens * Channels * 2];
        for (var i = 0; i < bytes.Length; i += 2)
        {
            var value = BitConverter.SingleToUInt32Bits((random.NextSingle() * 6) - 3);
            (bytes[i], bytes[i + 1]) = ((byte)(value >> 16), (byte)(value >> 24));
        }

        return bytes;
    }

    private static ImageRow Row(int prompt, ulong seed, float guidance = 4.5f) => new(Condition(prompt), Condition(0), guidance, seed);

    private static ImageBatch Batch(int batchSize, params ImageRow[] rows) => new(64, 64, 3, batchSize, rows);

    [Theory]
    [InlineData(true, ScalarType.Float32)]
    [InlineData(false, ScalarType.Float32)]
    [InlineData(true, ScalarType.BFloat16)]
    public void An_image_has_the_same_bytes_alone_in_any_batch_and_at_any_position(bool fused, ScalarType dtype)
    {
        // a processor without bfloat16 instructions takes seconds for a step
        ImageBatch Of(params ImageRow[] rows) => new(64, 64, dtype == ScalarType.BFloat16 ? 1 : 3, 5, rows);
        using var model = Load(fused, dtype);
        using var denoiser = new ImageDenoiser(model);
        var wanted = Row(prompt: 1, seed: 42);
        var alone = denoiser.Denoise(Of(wanted))[0].Pixels;
        var first = denoiser.Denoise(Of(wanted, Row(2, 1), Row(3, 2, guidance: 2)))[0].Pixels;
        var last = denoiser.Denoise(Of(Row(4, 9), Row(1, 7), Row(2, 42), Row(5, 1), wanted))[4].Pixels;
        using var another = new ImageDenoiser(model);
        Assert.Equal(alone, first);
        Assert.Equal(alone, last);
        Assert.Equal(alone, another.Denoise(Of(wanted))[0].Pixels);
        Assert.NotEqual(alone, denoiser.Denoise(Of(Row(1, 43)))[0].Pixels);
        Assert.NotEqual(alone, denoiser.Denoise(Of(Row(2, 42)))[0].Pixels);
        Assert.NotEqual(alone, denoiser.Denoise(Of(Row(1, 42, guidance: 4.4f)))[0].Pixels);
    }

    /// <summary>The way an accelerator goes, on the CPU: latents never leave the device between two steps. The same sums in batches of another height
    /// round otherwise in their last bits, which may move a pixel by a level.</summary>
    [Fact]
    public void Latents_that_stay_on_the_device_give_the_same_picture()
    {
        var folder = MetaQueryModelFolder.Open(RepositoryFolders.NanoModel);
        ImageRow[] rows = [Row(1, 42), Row(2, 7, guidance: 1), new ImageRow(Condition(1), Condition(0), 3, 5) { ImageCondition = Condition(3), ImageGuidanceScale = 2 }];
        using var byRow = ImageModel.Load(folder, new ImageModelOptions { AllowFused = false });
        using var whole = ImageModel.Load(folder, new ImageModelOptions { AllowFused = false, WholeBatches = true });
        using var first = new ImageDenoiser(byRow);
        using var second = new ImageDenoiser(whole);
        foreach (var (expected, actual) in first.Denoise(Batch(3, rows)).Zip(second.Denoise(Batch(3, rows))))
        {
            Assert.All(expected.Pixels.Zip(actual.Pixels), pair => Assert.InRange(pair.Second - pair.First, -1, 1));
        }
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void A_picture_that_is_not_finite_is_an_error_and_never_bytes(float value)
    {
        using var scope = NewDisposeScope();
        var decoded = zeros([2, 3, 4, 4]);
        decoded[1, 2, 3, 3] = value;
        var error = Assert.Throws<PipelineException>(() => ImageDenoiser.ToImages(decoded));
        Assert.StartsWith("picture 2 of 2:", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void An_image_does_not_depend_on_the_kernels_threads()
    {
        using var model = Load();
        using var one = new ImageDenoiser(model, new ImageDenoiserOptions(Threads: 1));
        using var two = new ImageDenoiser(model, new ImageDenoiserOptions(Threads: 2));
        var batch = Batch(4, Row(1, 1), Row(2, 2), Row(3, 3), Row(4, 4));
        Assert.Equal(one.Denoise(batch).SelectMany(image => image.Pixels), two.Denoise(batch).SelectMany(image => image.Pixels));
    }

    [Fact]
    public void A_condition_is_prepared_once_for_all_its_images_and_steps()
    {
        using var model = Load();
        using var denoiser = new ImageDenoiser(model);
        denoiser.Denoise(Batch(8, Row(1, 1), Row(1, 2), Row(2, 3), Row(2, 4)));
        Assert.Equal(3, denoiser.PreparedConditions); // two prompts and the empty one
        denoiser.Denoise(Batch(8, Row(1, 5), Row(3, 6)));
        Assert.Equal(4, denoiser.PreparedConditions);
    }

    [Fact]
    public void Contexts_that_were_given_back_are_made_again()
    {
        using var model = Load();
        using var bounded = new ImageDenoiser(model, new ImageDenoiserOptions(ContextCacheBytes: 0));
        var image = bounded.Denoise(Batch(2, Row(1, 1)))[0].Pixels;
        Assert.Equal(image, bounded.Denoise(Batch(2, Row(1, 1)))[0].Pixels);
        Assert.Equal(4, bounded.PreparedConditions);
    }

    [Fact]
    public void A_guidance_of_one_or_less_is_the_conditional_velocity_in_any_company()
    {
        using var model = Load();
        using var denoiser = new ImageDenoiser(model);
        var alone = denoiser.Denoise(Batch(3, Row(1, 8, guidance: 1)))[0].Pixels;
        Assert.Equal(1, denoiser.PreparedConditions);
        Assert.Equal(alone, denoiser.Denoise(Batch(3, Row(2, 1), Row(1, 8, guidance: 1)))[1].Pixels);
        Assert.Equal(alone, denoiser.Denoise(Batch(3, Row(1, 8, guidance: 0)))[0].Pixels);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_row_guided_by_its_pictures_has_the_same_bytes_in_any_company_and_leaves_the_others_theirs(bool fused)
    {
        using var model = Load(fused);
        using var denoiser = new ImageDenoiser(model);
        var pictured = Row(1, 8) with { ImageCondition = Condition(6), ImageGuidanceScale = 2 };
        var (guided, plain) = (Row(2, 1), Row(3, 2, guidance: 1));
        var together = denoiser.Denoise(Batch(3, guided, pictured, plain));
        Assert.Equal(denoiser.Denoise(Batch(3, pictured))[0].Pixels, together[1].Pixels);
        Assert.Equal(denoiser.Denoise(Batch(3, guided))[0].Pixels, together[0].Pixels);
        Assert.Equal(denoiser.Denoise(Batch(3, plain))[0].Pixels, together[2].Pixels);
        Assert.Equal(together[0].Pixels, denoiser.Denoise(Batch(3, guided) with { ThreeBranches = true })[0].Pixels);
        Assert.NotEqual(denoiser.Denoise(Batch(3, Row(1, 8)))[0].Pixels, together[1].Pixels);
        Assert.NotEqual(denoiser.Denoise(Batch(3, pictured with { ImageGuidanceScale = 1.5f }))[0].Pixels, together[1].Pixels);
        Assert.Equal(denoiser.Denoise(Batch(3, Row(1, 8)))[0].Pixels, denoiser.Denoise(Batch(3, pictured with { ImageGuidanceScale = 1 }))[0].Pixels);
    }

    [Fact]
    public void Where_the_pictures_alone_are_the_whole_prompt_the_text_guides_nothing()
    {
        using var model = Load();
        using var denoiser = new ImageDenoiser(model);
        var reconstruction = Row(6, 8, guidance: 4) with { ImageCondition = Condition(6), ImageGuidanceScale = 3 };
        // u + 3 (ui - u) + g (ui - ui), whatever g: two branches with a guidance of 3.
        Assert.Equal(denoiser.Denoise(Batch(1, Row(6, 8, guidance: 3)))[0].Pixels, denoiser.Denoise(Batch(1, reconstruction))[0].Pixels);
    }

    [Fact]
    public void Cancelling_in_a_step_ends_before_the_next_one()
    {
        using var model = Load();
        using var denoiser = new ImageDenoiser(model);
        using var cancelled = new CancellationTokenSource();
        var done = new List<(int, int)>();
        Assert.Throws<OperationCanceledException>(() => denoiser.Denoise(
            Batch(2, Row(1, 1)),
            (step, of) =>
            {
                done.Add((step, of));
                if (step == 2)
                {
                    cancelled.Cancel();
                }
            },
            cancelled.Token));
        Assert.Equal([(1, 3), (2, 3)], done);
    }

    [Fact]
    public void Cancelling_while_pictures_are_decoded_ends_before_the_next_one()
    {
        using var model = Load();
        using var denoiser = new ImageDenoiser(model);
        using var cancelled = new CancellationTokenSource();
        var done = new List<(int, int)>();
        Assert.Throws<OperationCanceledException>(() => denoiser.Denoise(
            Batch(4, Row(1, 1), Row(1, 2), Row(1, 3), Row(1, 4)),
            (step, of) =>
            {
                done.Add((step, of));
                if (done.Count == 5)
                {
                    cancelled.Cancel();
                }
            },
            cancelled.Token));
        Assert.Equal([(1, 3), (2, 3), (3, 3), (3, 3), (3, 3)], done); // three steps, the first picture, and the second one, in which it was cancelled
    }

    [Fact]
    public void Sizes_are_the_models_multiples_and_others_are_refused()
    {
        using var model = Load();
        using var denoiser = new ImageDenoiser(model);
        Assert.Equal(8, model.SizeMultiplePixels);
        Assert.Equal(64, model.DefaultSizePixels);
        var wide = denoiser.Denoise(new ImageBatch(40, 72, 1, 1, [Row(1, 1)]))[0];
        Assert.Equal((72, 40), (wide.WidthPixels, wide.HeightPixels));
        foreach (var (height, width) in new[] { (60, 64), (64, 0), (64, 8192) })
        {
            var error = Assert.Throws<PipelineException>(() => denoiser.Denoise(new ImageBatch(height, width, 1, 1, [Row(1, 1)])));
            Assert.Contains($"{width} x {height}", error.Message);
            Assert.Contains("multiples of 8", error.Message);
        }
    }

    [Fact]
    public void Conditions_steps_and_batches_that_cannot_be_are_refused_in_one_line()
    {
        using var model = Load();
        using var denoiser = new ImageDenoiser(model);
        var row = Row(1, 1);
        foreach (var batch in new[]
        {
            new ImageBatch(64, 64, 0, 1, [row]), new ImageBatch(64, 64, 1001, 1, [row]), new ImageBatch(64, 64, 1, 1, []),
            new ImageBatch(64, 64, 1, 1, [row, row]), new ImageBatch(64, 64, 1, 1, [row with { Condition = new byte[100] }]),
            new ImageBatch(64, 64, 1, 1, [row with { NegativeCondition = default }]), new ImageBatch(64, 64, 1, 1, [row with { GuidanceScale = float.NaN }]),
        })
        {
            Assert.DoesNotContain('\n', Assert.Throws<PipelineException>(() => denoiser.Denoise(batch)).Message);
        }
    }

    // The golden cases compare both with the reference; this bounds bfloat16, whose pictures have to stay above 30 dB in the median.
    [Fact]
    public void Bfloat16_pictures_stay_above_30_decibels_of_float32()
    {
        using var wide = Load();
        using var narrow = Load(dtype: ScalarType.BFloat16);
        using var first = new ImageDenoiser(wide);
        using var second = new ImageDenoiser(narrow);
        var batch = new ImageBatch(64, 64, 8, 4, [Row(1, 1), Row(2, 2), Row(3, 3), Row(4, 4)]);
        var ratios = first.Denoise(batch).Zip(second.Denoise(batch), (a, b) =>
            10 * Math.Log10(255.0 * 255 / a.Pixels.Zip(b.Pixels, (x, y) => (double)(x - y) * (x - y)).Average())).Order().ToArray();
        Assert.True(ratios[1] > 30, string.Join(", ", ratios));
    }
}
