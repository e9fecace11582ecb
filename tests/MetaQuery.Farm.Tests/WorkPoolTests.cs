using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>What a free slot does next.</summary>
public sealed class WorkPoolTests
{
    private const int BatchSize = 4;
    private int _leases;

    [Fact]
    public void A_slot_denoises_while_a_batch_waits_for_every_slot()
    {
        WorkPool pool = Pool(slots: 2, images: 8, prompts: 3);
        Assert.Equal(0, pool.RoomForImages);
        Assert.IsType<DenoiseItem>(Next(pool, isDry: true)![0].Item);
    }

    [Fact]
    public void A_slot_encodes_when_the_queue_has_no_more_images_than_are_ready()
    {
        WorkPool pool = Pool(slots: 2, images: 7, prompts: 3);
        Assert.Equal(3, Next(pool, isDry: true)!.Count);
        Assert.Equal(BatchSize, Next(pool, isDry: true)!.Count);
    }

    [Fact]
    public void A_slot_denoises_while_more_images_lie_in_the_queue()
    {
        WorkPool pool = Pool(slots: 2, images: 7, prompts: 3);
        Assert.IsType<DenoiseItem>(Next(pool, isDry: false)![0].Item);
    }

    [Fact]
    public void Prompts_go_before_a_batch_that_is_not_full_and_it_goes_when_nothing_else_is_left()
    {
        WorkPool pool = Pool(slots: 1, images: 3, prompts: 20);
        Assert.Equal(16, Next(pool, isDry: false)!.Count);
        Assert.Equal(4, Next(pool, isDry: false)!.Count);
        Assert.Null(pool.Choose(isDry: false, moreMayCome: true));
        Assert.Equal(3, Next(pool, isDry: true)!.Count);
        Assert.Null(pool.Choose(isDry: true, moreMayCome: false));
    }

    [Fact]
    public void Where_one_half_is_in_memory_at_a_time_a_window_of_prompts_goes_first_and_then_every_image()
    {
        WorkPool pool = Pool(slots: 1, images: 8, prompts: 20, window: 18);
        Assert.Equal(16, Next(pool, isDry: false)!.Count);
        Assert.Equal(4, Next(pool, isDry: false)!.Count);
        Add(pool, ToyFloor.Prompt("more"));
        Assert.IsType<DenoiseItem>(Next(pool, isDry: false)![0].Item); // the window is full
        Assert.IsType<DenoiseItem>(Next(pool, isDry: false)![0].Item);
        Assert.Null(pool.Choose(isDry: false, moreMayCome: true)); // more images may come: the half that makes them stays
        Assert.IsType<EncodeItem>(pool.Choose(isDry: true, moreMayCome: false)![0].Item);
    }

    [Fact]
    public void Where_one_half_is_in_memory_at_a_time_no_slot_gets_what_needs_the_other_half_while_one_is_at_work()
    {
        WorkPool pool = Pool(slots: 2, images: 4, prompts: 1, window: 1);
        Assert.IsType<EncodeItem>(pool.Choose(isDry: true, moreMayCome: false, promptsAreDry: true)![0].Item);
        Assert.Null(pool.Choose(isDry: true, moreMayCome: false, promptsAreDry: true, busy: WorkRoles.Mllm)); // it would sit in its slot until the other is done
        Assert.IsType<DenoiseItem>(pool.Choose(isDry: true, moreMayCome: false, promptsAreDry: true)![0].Item);
        Add(pool, ToyFloor.Prompt("more"));
        Assert.Null(pool.Choose(isDry: true, moreMayCome: false, busy: WorkRoles.Dit));
        Add(pool, ToyFloor.Image("job", 9));
        Assert.IsType<DenoiseItem>(pool.Choose(isDry: true, moreMayCome: false, busy: WorkRoles.Dit)![0].Item); // the half that is there
        Assert.IsType<EncodeItem>(pool.Choose(isDry: true, moreMayCome: false)![0].Item);
    }

    [Fact]
    public void A_turn_of_encoding_waits_for_prompts_that_are_on_their_way()
    {
        WorkPool pool = Pool(slots: 1, images: 4, prompts: 1, window: 100);
        Assert.IsType<EncodeItem>(Next(pool, isDry: true)![0].Item);
        Assert.Null(pool.Choose(isDry: true, moreMayCome: false, promptsAreDry: false));
        Assert.IsType<DenoiseItem>(pool.Choose(isDry: true, moreMayCome: false, promptsAreDry: true)![0].Item);
    }

    [Fact]
    public void An_interactive_image_goes_before_everything_and_an_interactive_prompt_before_bulk()
    {
        WorkPool pool = Pool(slots: 1, images: 8, prompts: 2);
        HeldItem prompt = Add(pool, ToyFloor.Prompt("web") with { Priority = JobPriority.Interactive });
        HeldItem image = Add(pool, ToyFloor.Image("web", 0, steps: 9) with { Priority = JobPriority.Interactive });
        Assert.Equal([image], Next(pool, isDry: false));
        Assert.Equal([prompt], Next(pool, isDry: false));
        Assert.IsType<DenoiseItem>(Next(pool, isDry: false)![0].Item);
    }

    [Fact]
    public void A_prompt_that_must_run_singly_or_alone_is_encoded_alone()
    {
        WorkPool pool = Pool(slots: 1, images: 0, prompts: 0);
        HeldItem single = Add(pool, ToyFloor.Prompt("a") with { RunsSingly = true });
        HeldItem[] others = [Add(pool, ToyFloor.Prompt("b")), Add(pool, ToyFloor.Prompt("c"))];
        HeldItem alone = Add(pool, ToyFloor.Prompt("d") with { RunsAlone = true });
        Assert.Equal([single], Next(pool, isDry: true));
        Assert.Equal(others, Next(pool, isDry: true));
        Assert.Equal([alone], Next(pool, isDry: true));
    }

    [Fact]
    public void What_is_put_off_takes_room_and_is_not_begun()
    {
        WorkPool pool = Pool(slots: 1, images: 0, prompts: 0);
        int room = pool.RoomForPrompts;
        var item = new HeldItem(new Lease("1", ToyFloor.Prompt("a")));
        pool.PutOff(item);
        Assert.Equal(room - 1, pool.RoomForPrompts);
        Assert.Null(Next(pool, isDry: true));
        Assert.Equal([item], pool.TakePutOff());
        Assert.Equal(room, pool.RoomForPrompts);
    }

    private static IReadOnlyList<HeldItem>? Next(WorkPool pool, bool isDry) => pool.Choose(isDry, moreMayCome: !isDry);

    private WorkPool Pool(int slots, int images, int prompts, int? window = null)
    {
        var pool = new WorkPool(new WorkerOptions { Slots = slots, EncodeWindow = window }, BatchSize);
        for (int i = 0; i < images; i++)
        {
            Add(pool, ToyFloor.Image("job", i));
        }

        for (int i = 0; i < prompts; i++)
        {
            Add(pool, ToyFloor.Prompt($"prompt {i}"));
        }

        return pool;
    }

    private HeldItem Add(WorkPool pool, WorkItem item)
    {
        var held = new HeldItem(new Lease($"{_leases++}", item));
        pool.Add(held);
        return held;
    }
}
