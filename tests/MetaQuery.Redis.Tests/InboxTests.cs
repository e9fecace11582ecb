using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.TestKit;
using static MetaQuery.Redis.Tests.TestFarm;

namespace MetaQuery.Redis.Tests;

/// <summary>The files by which finished samples travel.</summary>
public sealed class InboxTests(RealRedis redis) : IClassFixture<RealRedis>
{
    private static readonly CancellationToken None = CancellationToken.None;

    [Fact]
    public async Task A_missing_or_damaged_file_brings_the_item_back_as_returned()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(6), None);
        for (int batch = 0; batch < 3; batch++)
        {
            IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1", most: 2), None);
            string[] before = Directory.GetFiles(farm.Inbox);
            Assert.All(await worker.ReportAsync("w1", [.. leases.Select(Finish)], None), Assert.True);
            string file = Directory.GetFiles(farm.Inbox).Except(before).Single();
            if (batch == 0)
            {
                File.Delete(file);
            }
            else if (batch == 1)
            {
                byte[] bytes = File.ReadAllBytes(file);
                bytes[^20] ^= 1; // in the second record
                File.WriteAllBytes(file, bytes);
            }
        }

        IReadOnlyList<ReceivedReport> reports = await head.ReceiveAsync(10, TimeSpan.Zero, None);
        Assert.Equal([true, true, false, true, false, false], reports.Select(report => report.Outcome is ReturnedOutcome));
        await head.ConfirmAsync(reports, None);
        Assert.Empty(Directory.EnumerateFileSystemEntries(farm.Inbox));
    }

    [Fact]
    public async Task A_head_that_was_away_reads_samples_by_portions_and_misses_none()
    {
        const int Count = 100;
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        DenoiseItem[] items = Denoises(Count);
        await head.FeedAsync(Lane, items, None);
        var image = new byte[1 << 20];
        while (await worker.LeaseAsync(Request("w1"), None) is { Count: > 0 } leases)
        {
            await worker.ReportAsync("w1", [.. leases.Select(lease => new WorkReport(
                lease, new DenoisedOutcome(new FinishedSample(((DenoiseItem)lease.Item).Position, image, new byte[1], new byte[1]))))], None);
        }

        var received = new List<int>();
        var ids = new List<string>();
        while (await head.ReceiveAsync(1024, TimeSpan.Zero, None) is { Count: > 0 } reports)
        {
            received.Add(reports.Count);
            ids.AddRange(reports.Select(report => report.Item.Id));
            await head.ConfirmAsync(reports, None);
        }

        Assert.Equal([64, 36], received); // the portion ends with the sample that makes it 64 MiB
        Assert.Equal(items.Select(item => item.Id), ids);
        Assert.Empty(Directory.EnumerateFileSystemEntries(farm.Inbox));
    }

    [Fact]
    public async Task A_file_is_kept_until_the_last_of_its_reports_is_confirmed()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(3), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        await worker.ReportAsync("w1", [.. leases.Select(Finish)], None);
        IReadOnlyList<ReceivedReport> first = await head.ReceiveAsync(2, TimeSpan.Zero, None);
        await head.ConfirmAsync(first, None);
        Assert.Single(Directory.EnumerateFiles(farm.Inbox));
        await head.ConfirmAsync(await head.ReceiveAsync(2, TimeSpan.Zero, None), None);
        Assert.Empty(Directory.EnumerateFiles(farm.Inbox));
    }

    [Fact]
    public async Task What_a_dead_worker_left_is_swept_and_what_a_living_one_is_about_to_report_is_not()
    {
        await using var farm = new TestFarm(redis, TimeSpan.FromMilliseconds(300));
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(2), None);
        IReadOnlyList<Lease> living = await worker.LeaseAsync(Request("living", most: 1), None);
        await worker.LeaseAsync(Request("dies", most: 1), None);
        var inbox = new SampleInbox(farm.Inbox);
        string kept = inbox.Write("living", [new FinishedSample(0, "image"u8.ToArray(), "c"u8.ToArray(), "j"u8.ToArray())])[0].File;
        inbox.Write("dies", [new FinishedSample(1, "image"u8.ToArray(), "c"u8.ToArray(), "j"u8.ToArray())]);
        File.WriteAllText(Path.Combine(farm.Inbox, $".{SampleInbox.WorkerMark("dies")}-0123456789abcdef.mqsp.partial-0123"), "torn");
        File.WriteAllText(Path.Combine(farm.Inbox, "a person's note"), "no file of ours");
        await UntilAsync(
            async () =>
            {
                Assert.Empty(await worker.RenewAsync("living", living, None));
                await head.ReclaimAsync(None);
                return Directory.GetFiles(farm.Inbox).Length == 2;
            },
            "the dead worker's files are swept");
        Assert.Equal(
            new[] { "a person's note", kept }.Order(StringComparer.Ordinal), Directory.GetFiles(farm.Inbox).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal));
    }

    [Fact]
    public async Task What_is_long_past_any_report_is_swept_although_its_worker_is_busy()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(3), None);
        await worker.LeaseAsync(Request("busy", most: 1), None);
        await worker.ReportAsync("busy", [.. (await worker.LeaseAsync(Request("busy", most: 1), None)).Select(Finish)], None);
        IReadOnlyList<ReceivedReport> reports = await head.ReceiveAsync(10, TimeSpan.Zero, None);
        string named = Path.GetFileName(Directory.GetFiles(farm.Inbox).Single());
        var inbox = new SampleInbox(farm.Inbox);
        string old = inbox.Write("busy", [new FinishedSample(0, default, default, default)])[0].File;
        string young = inbox.Write("busy", [new FinishedSample(0, default, default, default)])[0].File;
        foreach (string file in new[] { named, old })
        {
            File.SetLastWriteTimeUtc(Path.Combine(farm.Inbox, file), DateTime.UtcNow - (farm.Options.LeaseTime * 21));
        }

        await head.ReclaimAsync(None);
        Assert.Equal(new[] { named, young }.Order(StringComparer.Ordinal), Directory.GetFiles(farm.Inbox).Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal));
        await head.ConfirmAsync(reports, None);
        Assert.False(File.Exists(Path.Combine(farm.Inbox, named)));
    }

    [Fact]
    public async Task What_a_head_before_this_one_left_is_swept_too_but_nothing_that_an_unread_report_names()
    {
        await using var farm = new TestFarm(redis, TimeSpan.FromMilliseconds(200));
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(4), None);
        await worker.ReportAsync("w1", [.. (await worker.LeaseAsync(Request("w1", most: 2), None)).Select(Finish)], None);
        IReadOnlyList<ReceivedReport> reports = await head.ReceiveAsync(10, TimeSpan.Zero, None);
        await head.ConfirmAsync([reports[1]], None); // the last one of the file, but not the first
        RedisWorkFeed next = await farm.HeadAsync();
        for (int i = 0; i < 3; i++)
        {
            await next.ReclaimAsync(None);
        }

        reports = await next.ReceiveAsync(10, TimeSpan.Zero, None);
        Assert.IsType<DenoisedOutcome>(Assert.Single(reports).Outcome);
        await next.ConfirmAsync(reports, None);
        await UntilAsync(async () => { await next.ReclaimAsync(None); return Directory.GetFiles(farm.Inbox).Length == 0; }, "swept");
    }

    [Fact]
    public async Task A_file_that_cannot_be_read_just_now_holds_up_all_reports_of_its_reading_and_loses_none()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(3), None);
        string[] files = [];
        for (int i = 0; i < 3; i++)
        {
            await worker.ReportAsync("w1", [Finish((await worker.LeaseAsync(Request("w1", most: 1), None))[0])], None);
            files = [.. files, .. Directory.GetFiles(farm.Inbox).Except(files)];
        }

        File.Move(files[1], files[1] + ".aside");
        Directory.CreateDirectory(files[1]); // reading it is an error
        await Assert.ThrowsAsync<WorkQueueException>(async () => await head.ReceiveAsync(10, TimeSpan.Zero, None));
        Directory.Delete(files[1]);
        File.Move(files[1] + ".aside", files[1]);
        IReadOnlyList<ReceivedReport> reports = await head.ReceiveAsync(10, TimeSpan.Zero, None);
        Assert.Equal([0L, 1L, 2L], reports.Select(report => Assert.IsType<DenoisedOutcome>(report.Outcome).Sample.Position));
        await head.ConfirmAsync(reports, None);
        Assert.Empty(Directory.EnumerateFileSystemEntries(farm.Inbox));
    }

    [Fact]
    public async Task A_name_from_redis_never_leaves_the_inbox_folder()
    {
        await using var farm = new TestFarm(redis);
        Directory.CreateDirectory(farm.Inbox);
        var inbox = new SampleInbox(farm.Inbox);
        InboxPlace place = inbox.Write("w", [new FinishedSample(7, "image"u8.ToArray(), "c"u8.ToArray(), "j"u8.ToArray())])[0];
        Assert.NotNull(inbox.TryRead(place));
        File.Copy(Path.Combine(farm.Inbox, place.File), Path.Combine(farm.Inbox, "..", place.File));
        Assert.Null(inbox.TryRead(place with { File = "../" + place.File }));
        Assert.Null(inbox.TryRead(place with { Position = 8 }));
        Assert.Null(inbox.TryRead(place with { Offset = 1 }));
        Assert.Null(inbox.TryRead(place with { Offset = -1 }));
    }

    [Fact]
    public async Task A_worker_that_does_not_see_the_folder_is_told_so_and_keeps_its_lease()
    {
        await using var farm = new TestFarm(redis);
        RedisWorkFeed head = await farm.HeadAsync();
        RedisWorkQueue worker = await farm.WorkerAsync();
        await head.FeedAsync(Lane, Denoises(1), None);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(Request("w1"), None);
        Directory.Delete(farm.Inbox);
        var exception = await Assert.ThrowsAsync<StorageException>(async () => await worker.ReportAsync("w1", [Finish(leases[0])], None));
        Assert.Contains(farm.Inbox, exception.Message, StringComparison.Ordinal);
        Directory.CreateDirectory(farm.Inbox);
        Assert.Equal([true], await worker.ReportAsync("w1", [Finish(leases[0])], None));
    }
}
