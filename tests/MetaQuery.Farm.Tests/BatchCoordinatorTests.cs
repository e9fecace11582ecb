using FsCheck.Xunit;
using MetaQuery.Data;

namespace MetaQuery.Farm.Tests;

public sealed class BatchCoordinatorTests
{
    private const int ImagesPerPrompt = 3;

    [Property(MaxTest = 300)]
    public void Every_image_is_made_or_given_up_exactly_once_whatever_the_interleaving_and_the_faults(int seed)
    {
        var random = new Random(seed);
        int prompts = random.Next(0, 40);
        var limits = new CoordinatorLimits(random.Next(1, 9), random.Next(1, 6), random.Next(1, 40), random.Next(1, 12), random.Next(1, 30));
        double faults = random.NextDouble() * 0.6;
        var expected = new HashSet<long>();
        List<PlannedPrompt> plan = [.. Enumerable.Range(0, prompts).Select(i => Prompt(i, random))];
        foreach (PlannedPrompt prompt in plan)
        {
            expected.UnionWith(prompt.Samples.Select(sample => Position(prompt, sample)));
        }

        var coordinator = new BatchCoordinator(plan.GetEnumerator(), limits, Address);
        var made = new List<long>();
        var givenUp = new List<long>();
        var failures = new Dictionary<long, int>();
        var tasksOut = new List<FarmTask>();
        int slots = random.Next(1, 5);
        while (!coordinator.IsFinished)
        {
            FarmTask? next = tasksOut.Count < slots ? coordinator.Next() : null;
            if (next is not null)
            {
                Check(next, limits);
                tasksOut.Add(next);
                continue;
            }

            if (coordinator.IsFinished)
            {
                break;
            }

            Assert.NotEmpty(tasksOut); // nothing to hand out and nothing out, yet not finished: stuck
            FarmTask ended = tasksOut[random.Next(tasksOut.Count)];
            tasksOut.Remove(ended);
            bool fails = random.NextDouble() < faults;
            switch (ended)
            {
                case EncodeTask encode when fails:
                    givenUp.AddRange(coordinator.EncodeFailed(encode, "fault").Select(image => image.Position));
                    break;
                case EncodeTask encode:
                    coordinator.Encoded(encode, [.. encode.Prompts.Select(prompt => new PromptConditions(
                        BitConverter.GetBytes(prompt.Line.Index), prompt.Settings.IsGuided ? new byte[] { 1 } : default))]);
                    break;
                case DenoiseTask denoise when fails:
                    denoise.Images.ToList().ForEach(image => failures[image.Position] = failures.GetValueOrDefault(image.Position) + 1);
                    IReadOnlyList<AbandonedImage> abandoned = coordinator.DenoiseFailed(denoise, "fault");
                    Assert.All(abandoned, image => Assert.Equal(CoordinatorLimits.MaxFailures, failures[image.Position]));
                    givenUp.AddRange(abandoned.Select(image => image.Position));
                    break;
                case DenoiseTask denoise:
                    coordinator.Denoised(denoise);
                    made.AddRange(denoise.Images.Select(image => image.Position));
                    break;
            }
        }

        Assert.Null(coordinator.Next());
        Assert.Empty(tasksOut);
        Assert.Equal(expected.Order(), made.Concat(givenUp).Order()); // each once: lists, not sets
        if (faults == 0)
        {
            Assert.Empty(givenUp);
        }
    }

    [Fact]
    public void What_is_read_ahead_is_bounded_while_nothing_ends()
    {
        int read = 0;
        IEnumerable<PlannedPrompt> Endless()
        {
            while (true)
            {
                yield return new PlannedPrompt(Line(read++), new LineSettings(4, 4.5f, ""), [0, 1, 2, 3]);
            }
        }

        var limits = CoordinatorLimits.For(slots: 2, batchSize: 8, encodeBatchSize: 8);
        using IEnumerator<PlannedPrompt> prompts = Endless().GetEnumerator();
        var coordinator = new BatchCoordinator(prompts, limits, Address);
        int ready = 0;
        for (int i = 0; i < 1_000; i++)
        {
            // a slot that encodes at once but never denoises: the coordinator must stop asking for more
            if (coordinator.Next() is not EncodeTask encode)
            {
                break;
            }

            coordinator.Encoded(encode, [.. encode.Prompts.Select(_ => new PromptConditions(new byte[1], new byte[1]))]);
            ready += encode.Prompts.Sum(prompt => prompt.Samples.Count);
        }

        Assert.InRange(ready, limits.ReadyImages, limits.ReadyImages + (limits.EncodeBatchSize * 4));
        Assert.InRange(read, 1, limits.PromptsAhead + (ready / 4) + limits.EncodeBatchSize);
    }

    [Fact]
    public void Batches_are_filled_from_several_prompts_and_only_the_last_is_short()
    {
        List<PlannedPrompt> plan = [.. Enumerable.Range(0, 10).Select(i => new PlannedPrompt(Line(i), new LineSettings(4, 4.5f, ""), [0, 1, 2]))];
        var coordinator = new BatchCoordinator(plan.GetEnumerator(), CoordinatorLimits.For(1, 8, 4), Address);
        var sizes = new List<int>();
        while (coordinator.Next() is { } task)
        {
            if (task is EncodeTask encode)
            {
                coordinator.Encoded(encode, [.. encode.Prompts.Select(_ => new PromptConditions(new byte[1], new byte[1]))]);
            }
            else
            {
                coordinator.Denoised((DenoiseTask)task);
                sizes.Add(((DenoiseTask)task).Images.Count);
            }
        }

        Assert.True(coordinator.IsFinished);
        Assert.Equal([8, 8, 8, 6], sizes);
    }

    [Fact]
    public void An_image_of_rare_settings_does_not_wait_for_the_end_of_the_job()
    {
        List<PlannedPrompt> plan =
            [.. Enumerable.Range(0, 500).Select(i => new PlannedPrompt(Line(i), new LineSettings(i == 0 ? 9 : 4, 4.5f, ""), [0]))];
        var limits = new CoordinatorLimits(BatchSize: 4, EncodeBatchSize: 4, ReadyImages: 8, PromptsAhead: 8, HoldPrompts: 40);
        var coordinator = new BatchCoordinator(plan.GetEnumerator(), limits, Address);
        int before = 0;
        while (coordinator.Next() is { } task)
        {
            if (task is EncodeTask encode)
            {
                coordinator.Encoded(encode, [.. encode.Prompts.Select(_ => new PromptConditions(new byte[1], new byte[1]))]);
                continue;
            }

            var denoise = (DenoiseTask)task;
            coordinator.Denoised(denoise);
            if (denoise.NumInferenceSteps == 9)
            {
                Assert.InRange(before, 1, 100);
                return;
            }

            before += denoise.Images.Count;
        }

        Assert.Fail("the rare image was never made");
    }

    private static void Check(FarmTask task, CoordinatorLimits limits)
    {
        if (task is EncodeTask encode)
        {
            Assert.InRange(encode.Prompts.Count, 1, limits.EncodeBatchSize);
            return;
        }

        var denoise = (DenoiseTask)task;
        Assert.InRange(denoise.Images.Count, 1, limits.BatchSize);
        Assert.All(denoise.Images, image =>
        {
            Assert.Equal(denoise.NumInferenceSteps, image.Prompt.Settings.NumInferenceSteps);
            Assert.Equal(denoise.IsGuided, image.Prompt.Settings.IsGuided);
            Assert.Equal(BitConverter.GetBytes(image.Prompt.Line.Index), image.Conditions.Condition.ToArray());
            Assert.Equal(Address(image.Prompt, image.SampleIndex), (image.Position, image.Seed));
        });
    }

    private static PlannedPrompt Prompt(int index, Random random) => new(
        Line(index),
        new LineSettings(random.Next(1, 3), random.Next(0, 3), random.Next(2) == 0 ? "" : "negative"),
        [.. Enumerable.Range(0, ImagesPerPrompt).Where(_ => random.Next(4) > 0).DefaultIfEmpty(0)]);

    private static PromptLine Line(long index) => new() { Line = index + 1, Index = index, Prompt = $"prompt {index}" };

    private static long Position(PlannedPrompt prompt, int sample) => (prompt.Line.Index * ImagesPerPrompt) + sample;

    private static (long Position, ulong Seed) Address(PlannedPrompt prompt, int sample) =>
        (Position(prompt, sample), ImageSeed.ForPrompt(1, prompt.Line.Index, sample));
}
