using FsCheck.Xunit;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class CoordinatorTests
{
    private const int ImagesPerPrompt = 3;

    [Property(MaxTest = 200)]
    public void Every_image_is_made_or_given_up_exactly_once_whatever_the_interleaving_and_the_faults(int seed)
    {
        var random = new Random(seed);
        JobPlan plan = Plan([.. Enumerable.Range(0, random.Next(1, 30)).Select(_ => $"prompt {random.Next(20)}")], (ulong)random.Next(3));
        var settled = new Dictionary<long, int>();
        var store = new MemorySampleStore(plan.ImageCount, "toy", sample => settled.Add(sample.Position, 1));
        for (long position = 0; position < plan.ImageCount; position++)
        {
            if (random.Next(4) == 0)
            {
                store.Add(new FinishedSample(position, default, default, default)); // an earlier run's
            }
        }

        var coordinator = Coordinator(plan, store);
        for (long position = 0; position < plan.ImageCount; position++)
        {
            if (random.Next(10) == 0)
            {
                DenoiseItem before = Item(plan, position);
                coordinator.MarkOut(before);
            }
        }

        double faults = random.NextDouble() * 0.7;
        var desk = new ConditionDesk();
        var encoding = new List<EncodeItem>();
        var asked = new Dictionary<ConditionKey, int>();
        var lost = new Dictionary<ConditionKey, int>();
        List<DenoiseItem> held = [.. Enumerable.Range(0, (int)plan.ImageCount).Where(position => coordinator.IsOut(position)).Select(position => Item(plan, position))];
        int givenUp = 0;
        while (!coordinator.IsFinished)
        {
            coordinator.PlanAhead(random.Next(1, 9), random.Next(1, 30), 4096);
            if (NextEncode(coordinator, desk) is { } encode)
            {
                Assert.DoesNotContain(encoding, other => other.Key == encode.Key);
                asked[encode.Key] = asked.GetValueOrDefault(encode.Key) + 1;
                encoding.Add(encode);
                continue;
            }

            if (random.Next(2) == 0 && coordinator.NextDenoise() is { } image)
            {
                Assert.DoesNotContain(held, other => other.Position == image.Position);
                held.Add(image);
                continue;
            }

            if (encoding.Count > 0 && random.Next(2) == 0)
            {
                EncodeItem ended = encoding[random.Next(encoding.Count)];
                encoding.Remove(ended);
                if (random.NextDouble() < faults / 4)
                {
                    foreach (AbandonedImage abandoned in coordinator.EncodeFailed(ended.Key, "fault"))
                    {
                        Assert.True(store.Fail(abandoned.Position, new FailedSample("", 0, 0, "", abandoned.Reason)));
                        givenUp++;
                    }

                    desk.Failed(ended.Key);
                    asked.Remove(ended.Key); // a later prompt of the same text asks again
                }
                else
                {
                    desk.Made(ended.Key, wasMade: true);
                    coordinator.Encoded(ended.Key);
                }
            }
            else if (held.Count > 0)
            {
                DenoiseItem ended = held[random.Next(held.Count)];
                held.Remove(ended);
                End(ended);
            }
        }

        Assert.Empty(held);
        Assert.Empty(encoding);
        Assert.True(store.IsComplete);
        Assert.Equal(plan.ImageCount, settled.Count + givenUp);
        Assert.All(asked, key => Assert.InRange(key.Value, 0, 1 + lost.GetValueOrDefault(key.Key)));

        void End(DenoiseItem item)
        {
            double fate = random.NextDouble();
            if (fate > faults)
            {
                Assert.True(store.Add(new FinishedSample(item.Position, default, default, default)));
                coordinator.Done(item.Position);
            }
            else if (fate < faults / 20)
            {
                coordinator.TakeAllBack();
                held.Clear();
            }
            else if (fate < faults / 3)
            {
                lost[item.Condition] = lost.GetValueOrDefault(item.Condition) + 1;
                desk.Lost(item.Condition);
                coordinator.MissingCondition(item, item.Condition);
            }
            else
            {
                coordinator.TakeBack(item with { Attempt = item.Attempt + 1 });
            }
        }
    }

    [Fact]
    public void What_is_read_ahead_is_bounded_while_nothing_ends()
    {
        JobPlan plan = Plan([.. Enumerable.Range(0, 1000).Select(i => $"prompt {i}")], 0);
        var coordinator = Coordinator(plan, new MemorySampleStore(plan.ImageCount, "toy", _ => { }));
        for (int i = 0; i < 50; i++)
        {
            coordinator.PlanAhead(20, 60, 4096);
            while (coordinator.NextEncode() is { } item)
            {
                coordinator.Encoded(item.Key);
            }
        }

        Assert.InRange(coordinator.ImagesAhead, 60, 60 + ImagesPerPrompt);
        Assert.Equal(coordinator.ImagesAhead, coordinator.ImagesPlanned);
        for (int i = 0; i < 50 && coordinator.NextDenoise() is not null; i++)
        {
            coordinator.PlanAhead(0, 60, 4096);
        }

        Assert.Equal(60, coordinator.ImagesPlanned); // 60 is a multiple of 3
    }

    [Fact]
    public void Prompts_read_ahead_are_bounded_however_few_images_each_has()
    {
        JobPlan plan = Plan([.. Enumerable.Range(0, 1000).Select(i => $"prompt {i}")], 0);
        var coordinator = Coordinator(plan, new MemorySampleStore(plan.ImageCount, "toy", _ => { }));
        coordinator.PlanAhead(long.MaxValue, long.MaxValue, 7);
        Assert.Equal(7 * ImagesPerPrompt, coordinator.ImagesPlanned);
    }

    [Fact]
    public void A_repeated_prompts_condition_is_asked_for_once_while_it_is_being_made()
    {
        JobPlan plan = Plan(["a", "b", "a", "a"], 0);
        var coordinator = Coordinator(plan, new MemorySampleStore(plan.ImageCount, "toy", _ => { }));
        coordinator.PlanAhead(100, 100, 4096);
        var asked = new List<string>();
        while (coordinator.NextEncode() is { } item)
        {
            asked.Add(item.Request.Caption);
            Assert.Equal(item.Request.Caption != "b", item.KeepOnDisk); // repeated, or a negative one
        }

        Assert.Equal(["a", "", "b"], asked);
    }

    /// <summary>As a session does it.</summary>
    private static EncodeItem? NextEncode(JobCoordinator coordinator, ConditionDesk desk)
    {
        while (coordinator.NextEncode() is { } item)
        {
            switch (desk.Ask("job", "lane", item))
            {
                case ConditionAnswer.IsToBeMade:
                    return item;
                case ConditionAnswer.IsThere:
                    coordinator.Encoded(item.Key);
                    break;
            }
        }

        return null;
    }

    private static JobPlan Plan(string[] prompts, ulong seed)
    {
        ModelDescription model = new ToyModel().Description;
        var spec = new JobSpec { Prompts = prompts, OutFolder = "none", ImagesPerPrompt = ImagesPerPrompt, Seed = seed };
        return JobPlan.Create(spec, model.Conditions, model.Images, CancellationToken.None);
    }

    private static JobCoordinator Coordinator(JobPlan plan, MemorySampleStore store) => new(
        PromptStream.Read(plan, store.IsSettled, () => { }).GetEnumerator(), new JobItems("job", plan, JobPriority.Bulk, null, keepAll: false), store.IsSettled);

    private static DenoiseItem Item(JobPlan plan, long position)
    {
        var items = new JobItems("job", plan, JobPriority.Bulk, null, keepAll: false);
        var line = new PlannedPrompt(
            plan.Source.Read().ElementAt((int)(position / ImagesPerPrompt)), new LineSettings(plan.Settings.NumInferenceSteps, plan.Settings.GuidanceScale, ""), []);
        return items.Denoise(line, (int)(position % ImagesPerPrompt), items.Keys(PromptRequests.Of(line.Line, line.Settings)));
    }
}
