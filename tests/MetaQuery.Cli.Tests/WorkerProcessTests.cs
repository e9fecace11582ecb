using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Redis;
using MetaQuery.Silo.Hosting;
using MetaQuery.TestKit;

namespace MetaQuery.Cli.Tests;

/// <summary><c>worker</c> on the real Nano model and a real redis-server, the test in the head's place.</summary>
public class WorkerProcessTests
{
    private static readonly string[] Captions = ["a red apple on a table", "a blue car", ""];
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(10);

    [Fact]
    public async Task Worker_processes_of_one_half_each_share_the_work_outlive_a_kill_and_drain_when_they_are_told_to()
    {
        using var redis = new RealRedis();
        using var folder = new TemporaryFolder();
        await using var farm = await FarmAsync(redis, folder);
        await using var head = await RedisWorkFeed.OpenAsync(farm.Connection, farm.Queue);
        var registry = farm.CreateRegistry();
        using var text = Start(redis, folder, "mllm");
        using var victim = Start(redis, folder, "dit");
        var workers = await UntilAsync(async () => await registry.ListAsync(default) is { Count: 2 } two ? two : null);
        var lane = Assert.Single(workers.Select(worker => worker.Info.Lane).Distinct());
        Assert.Equal([WorkRoles.Mllm, WorkRoles.Dit], workers.Select(worker => worker.Info.Roles).Order());
        var model = workers[0].Info;

        await head.FeedAsync(lane, [.. Captions.Select(caption => new EncodeItem(Key(model, caption), new ConditionRequest(caption), KeepOnDisk: false))], default);
        Assert.All(await ReceiveAsync(head, Captions.Length), report => Assert.Equal(new EncodedOutcome(WasMade: true), report.Outcome));
        await head.FeedAsync(lane, [.. Enumerable.Range(0, 12).Select(position => Image(model, position, steps: 200))], default);
        await UntilAsync(async () => (await head.DepthAsync(lane, default)).Leased > 0 ? "leased" : null);
        victim.Kill();
        var again = await UntilAsync(async () => await head.ReclaimAsync(default) is { Count: > 0 } items ? items : null);
        // what the dead worker held and what nobody had yet: all of it, in fewer steps
        await head.WithdrawAsync("job", default);
        Assert.All(again, item => Assert.Equal("job", Assert.IsType<DenoiseItem>(item).JobId));
        await head.FeedAsync(lane, [.. Enumerable.Range(0, 12).Select(position => Image(model, position, steps: 2) with { Attempt = 1 })], default);

        using var second = Start(redis, folder, "dit");
        var samples = (await ReceiveAsync(head, 12)).ConvertAll(report => Assert.IsType<DenoisedOutcome>(report.Outcome).Sample);
        Assert.Equal(Enumerable.Range(0, 12).Select(i => (long)i), samples.Select(sample => sample.Position).Order());
        Assert.All(samples, sample => Assert.Equal(64, ImageDecoder.Decode(sample.Image.Span).HeightPixels));
        text.CtrlC();
        second.CtrlC();
        Assert.Contains("worker drained: 0 images and 3 conditions made", text.Wait().Succeeded().Output, StringComparison.Ordinal);
        Assert.Contains("worker drained: 12 images and 0 conditions made", second.Wait().Succeeded().Output, StringComparison.Ordinal);
        Assert.Equal(new LaneDepth(0, 0, 0, 0), await head.DepthAsync(lane, default));
    }

    [Fact]
    public async Task A_worker_with_another_model_than_the_heads_or_no_head_is_refused_in_one_line()
    {
        using var redis = new RealRedis();
        using var folder = new TemporaryFolder();
        await using var farm = await FarmAsync(redis, folder);
        await farm.CreateRegistry().RequireModelAsync("another-revision", "another-condition-revision", default);
        using var worker = Start(redis, folder, "dit");
        var refusal = worker.Wait().OneLineError(ExitCodes.Model);
        Assert.Contains("another-revision", refusal, StringComparison.Ordinal);
        Assert.Matches("of revision [0-9a-f]{64}", refusal);
    }

    [Fact]
    public void A_worker_is_told_what_it_lacks()
    {
        Assert.Contains("--redis HOST:PORT is missing", CliProcess.Run("worker").OneLineError(ExitCodes.InvalidInput), StringComparison.Ordinal);
        Assert.Contains("mllm, dit or mllm,dit", CliProcess.Run("worker", "--redis", "localhost", "--roles", "vae").OneLineError(ExitCodes.InvalidInput), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("mllm", WorkRoles.Mllm)]
    [InlineData("dit", WorkRoles.Dit)]
    [InlineData("dit,mllm", WorkRoles.Both)]
    [InlineData("both", WorkRoles.Both)]
    [InlineData("", null)]
    [InlineData("mllm,vae", null)]
    public void Roles_are_read(string text, WorkRoles? roles) => Assert.Equal(roles, Commands.WorkerRun.ParseRoles(text));

    private static async Task<RedisFarm> FarmAsync(RealRedis redis, TemporaryFolder folder)
    {
        await File.WriteAllTextAsync(folder["lock"], ""); // as a head's folder has
        return await RedisFarm.ConnectAsync(
            new RedisFarmOptions { Redis = RedisOptions.Parse(redis.Address), DataFolder = folder.Path, LeaseTime = TimeSpan.FromSeconds(2) }, default);
    }

    private static CliProcess Start(RealRedis redis, TemporaryFolder folder, string roles) => CliProcess.Start(
        "worker", "--redis", redis.Address, "--data", folder.Path, "--roles", roles, "--slots", "1", "--lease-seconds", "2", "--dtype", "float32");

    private static ConditionKey Key(WorkerInfo model, string caption) => ConditionKey.Create(model.Conditions, new ConditionRequest(caption));

    private static DenoiseItem Image(WorkerInfo model, int position, int steps) => new(
        "job", position, $"{position:d9}", new PromptLine { Line = position + 1, Index = position, Prompt = Captions[position % 2] },
        new LineSettings(steps, 4.5f, ""), 0, ImageSeed.ForPrompt(3, position, 0), Key(model, Captions[position % 2]), Key(model, ""),
        model.Images.DefaultSize, 4, ImageFormat.Png, 100);

    private static async Task<List<ReceivedReport>> ReceiveAsync(RedisWorkFeed head, int count)
    {
        var reports = new List<ReceivedReport>();
        await UntilAsync(async () =>
        {
            var received = await head.ReceiveAsync(count, TimeSpan.FromSeconds(1), default);
            reports.AddRange(received);
            await head.ConfirmAsync(received, default);
            return reports.Count >= count ? reports : null;
        });
        return reports;
    }

    private static async Task<T> UntilAsync<T>(Func<Task<T?>> find)
        where T : class
    {
        var start = TimeProvider.System.GetTimestamp();
        while (true)
        {
            if (await find() is { } found)
            {
                return found;
            }

            Assert.True(TimeProvider.System.GetElapsedTime(start) < Patience, $"not within {Patience}");
            await Task.Delay(20);
        }
    }
}
