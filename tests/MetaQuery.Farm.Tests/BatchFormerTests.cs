using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

public sealed class BatchFormerTests
{
    [Fact]
    public void A_batch_mixes_prompts_and_jobs_of_one_shape_and_keeps_other_shapes_apart()
    {
        BatchFormer<DenoiseItem> former = Former(patience: 100);
        DenoiseItem[] same = [.. Enumerable.Range(0, 4).Select(i => ToyFloor.Image($"job {i % 2}", i, $"prompt {i}"))];
        DenoiseItem[] others = [.. Enumerable.Range(0, 3).Select(i => ToyFloor.Image("job 0", 10 + i, steps: 7))];
        foreach (DenoiseItem item in (DenoiseItem[])[others[0], same[0], same[1], others[1], same[2], others[2], same[3]])
        {
            former.Add(item);
        }

        Assert.Equal(same, former.Take(moreMayCome: true));
        Assert.Null(former.Take(moreMayCome: true));
        Assert.Equal(others, former.Take(moreMayCome: false));
        Assert.Equal(0, former.Count);
    }

    [Fact]
    public void Rows_with_another_time_limit_or_batch_size_are_kept_apart()
    {
        BatchFormer<DenoiseItem> former = Former(patience: 100);
        DenoiseItem[] items =
        [
            ToyFloor.Image("a", 0, batchSize: 2), ToyFloor.Image("a", 1, batchSize: 2) with { Timeout = TimeSpan.FromSeconds(1) },
            ToyFloor.Image("a", 2, batchSize: 3), ToyFloor.Image("a", 3, batchSize: 2),
        ];
        Array.ForEach(items, former.Add);
        Assert.Equal([items[0], items[3]], former.Take(moreMayCome: true));
        Assert.Null(former.Take(moreMayCome: true));
        Assert.Equal([items[1]], former.Take(moreMayCome: false));
        Assert.Equal([items[2]], former.Take(moreMayCome: false));
    }

    [Fact]
    public void Interactive_images_go_first_in_the_batch_there_is_filled_up_with_bulk()
    {
        BatchFormer<DenoiseItem> former = Former(patience: 100);
        DenoiseItem[] bulk = [.. Enumerable.Range(0, 5).Select(i => ToyFloor.Image("bulk", i))];
        Array.ForEach(bulk, former.Add);
        DenoiseItem other = ToyFloor.Image("web", 0, steps: 9) with { Priority = JobPriority.Interactive };
        DenoiseItem same = ToyFloor.Image("web", 1) with { Priority = JobPriority.Interactive };
        former.Add(other);
        former.Add(same);
        Assert.True(former.HasUrgent);
        Assert.Equal([other], former.Take(moreMayCome: true));
        Assert.Equal([same, bulk[0], bulk[1], bulk[2]], former.Take(moreMayCome: true));
        Assert.False(former.HasUrgent);
    }

    [Fact]
    public void Where_each_row_takes_its_time_interactive_images_take_no_bulk_along()
    {
        BatchFormer<DenoiseItem> former = Former(patience: 100, fillsInteractive: false);
        Add(former, 4, firstPosition: 0);
        DenoiseItem[] urgent = [.. Enumerable.Range(0, 2).Select(i => ToyFloor.Image("web", i) with { Priority = JobPriority.Interactive })];
        Array.ForEach(urgent, former.Add);
        Assert.Equal(2, former.InteractiveCount);
        Assert.Equal(urgent, former.Take(moreMayCome: true));
        Assert.Equal(4, former.Take(moreMayCome: true)!.Count);
    }

    [Fact]
    public void A_short_batch_is_not_held_back_for_ever()
    {
        BatchFormer<DenoiseItem> former = Former(patience: 3);
        DenoiseItem lonely = ToyFloor.Image("a", 0, steps: 50);
        former.Add(lonely);
        for (int i = 0; i < 3; i++)
        {
            Add(former, 4, firstPosition: 10 * i);
            Assert.Equal(4, former.Take(moreMayCome: true)!.Count);
        }

        Add(former, 4, firstPosition: 90);
        Assert.Equal([lonely], former.Take(moreMayCome: true));
    }

    [Fact]
    public void Bulk_images_are_not_starved_by_interactive_ones()
    {
        BatchFormer<DenoiseItem> former = Former(patience: 3);
        DenoiseItem bulk = ToyFloor.Image("bulk", 0);
        former.Add(bulk);
        int batches = 0;
        IReadOnlyList<DenoiseItem> taken;
        do
        {
            Assert.InRange(++batches, 1, 4);
            for (int i = 0; i < 4; i++)
            {
                former.Add(ToyFloor.Image("web", (batches * 4) + i) with { Priority = JobPriority.Interactive });
            }

            taken = former.Take(moreMayCome: true)!;
        }
        while (!taken.Contains(bulk));
        Assert.Equal(4, batches);
    }

    [Fact]
    public void What_failed_in_company_or_killed_its_holder_gets_a_batch_of_its_own_at_once()
    {
        BatchFormer<DenoiseItem> former = Former(patience: 100);
        DenoiseItem single = ToyFloor.Image("a", 0) with { RunsSingly = true };
        DenoiseItem alone = ToyFloor.Image("a", 1) with { RunsAlone = true };
        former.Add(single);
        former.Add(alone);
        Add(former, 2, firstPosition: 10);
        Assert.Equal([single], former.Take(moreMayCome: true));
        Assert.Equal([alone], former.Take(moreMayCome: true));
        Assert.Null(former.Take(moreMayCome: true));
    }

    [Fact]
    public void What_is_removed_is_in_no_batch()
    {
        BatchFormer<DenoiseItem> former = Former(patience: 100);
        Add(former, 4, firstPosition: 0);
        DenoiseItem other = ToyFloor.Image("b", 0);
        former.Add(other);
        Assert.Equal(4, former.Remove(item => item.JobId == "a").Count);
        Assert.False(former.HasFull);
        Assert.Equal([other], former.Take(moreMayCome: false));
    }

    private static BatchFormer<DenoiseItem> Former(int patience, bool fillsInteractive = true) => new(item => item, patience, fillsInteractive);

    private static void Add(BatchFormer<DenoiseItem> former, int count, int firstPosition)
    {
        for (int i = 0; i < count; i++)
        {
            former.Add(ToyFloor.Image("a", firstPosition + i));
        }
    }
}
