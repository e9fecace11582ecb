using System.Text;
using System.Text.Json;
using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Imaging;

namespace MetaQuery.Redis.Tests;

/// <summary>What lies in Redis, frozen: a change would part heads and workers of different versions.</summary>
public sealed class FormatTests
{
    [Fact]
    public void Outcomes_are_frozen()
    {
        var place = new InboxPlace("0123456789abcdef-0123456789abcdef.mqsp", 300, 1_000_000);
        var sample = new DenoisedOutcome(new FinishedSample(1_000_000, default, default, default));
        Assert.Equal("010101", Hex(new EncodedOutcome(WasMade: true), null));
        Assert.Equal("010100", Hex(new EncodedOutcome(WasMade: false), null));
        Assert.Equal("0102" + "26" + Convert.ToHexStringLower(Encoding.UTF8.GetBytes(place.File)) + "ac02" + "c0843d", Hex(sample, place));
        Assert.Equal("0103" + "03" + "622121" + "04", Hex(new FailedOutcome("b!!", 4), null));
        ConditionKey key = ConditionKey.Parse(string.Concat(Enumerable.Repeat("0f", 32)));
        Assert.Equal("0104" + key, Hex(new MissingConditionOutcome(key), null));
        Assert.Equal("0105", Hex(new ReturnedOutcome(), null));
        Assert.Equal((null, place), OutcomeFormat.Read(OutcomeFormat.Write(sample, place)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("02")]
    [InlineData("0209")]
    [InlineData("0106")]
    [InlineData("010100ff")]
    [InlineData("010305")]
    public void Damaged_or_later_reports_are_refused(string hex) =>
        Assert.Throws<WireFormatException>(() => OutcomeFormat.Read(Convert.FromHexString(hex)));

    [Fact]
    public void Names_of_keys_are_frozen()
    {
        var keys = new RedisKeys("farm");
        ConditionKey key = ConditionKey.Parse(new string('a', 64));
        Assert.Equal(
            [
                "mq:{farm}:run", "mq:{farm}:queues", "mq:{farm}:reports", "mq:{farm}:model", "mq:{farm}:workers", "mq:{farm}:conditions:use",
                "mq:{farm}:conditions:sizes", "mq:{farm}:folder", "mq:{farm}:worker:w", $"mq:{{farm}}:f:{key}", "mq:{farm}:answer:x", "mq:{farm}:q:l:mllm:bulk",
            ],
            new[]
            {
                keys.Run, keys.Queues, keys.Reports, keys.Model, keys.Workers, keys.ConditionUse, keys.ConditionSizes, keys.Folder, keys.Worker("w"), keys.Flight(key),
                keys.Answer("x"), keys.Stream(RedisKeys.Queue("l", WorkRoles.Mllm, JobPriority.Bulk)),
            }.Select(name => name.ToString()));
        Assert.Equal(["q:l:dit:interactive", "q:l:dit:bulk", "alone:l:dit"], RedisKeys.QueuesOf("l", WorkRoles.Dit));
        Assert.Equal(
            ["mq:{farm}:c:", "mq:{farm}:wake:", "mq:{farm}:wake:reports", "mq:{farm}:withdrawn", "l:dit"],
            [keys.ConditionPrefix, keys.WakePrefix, keys.ReportsWake, keys.Withdrawn, RedisKeys.WakeName("l", WorkRoles.Dit)]);
        Assert.Equal("e/q:l:dit:bulk/7-0", new LeaseToken("e", "q:l:dit:bulk", "7-0").ToString());
    }

    [Fact]
    public void A_condition_is_framed_as_ever() =>
        Assert.Equal(
            "4d515243" + "01000000" + "03000000" + "039058c6f2c0cb492c533b0a4d14ef77" + "010203", // SHA-256 of 01 02 03 begins with 039058c6
            Convert.ToHexStringLower(RedisConditionTier.Wrap([1, 2, 3])));

    [Fact]
    public void A_workers_words_are_frozen()
    {
        const string Info = """{"id":"a","host":"host \u00FC","process_id":42,"roles":3,"slots":2,"device":"cuda:0","lane":"lane","conditions":{"model_revision":"encoder","tokenizer":"tokenizer","chat_template":"{{ \u0022t\u0022 }}","system_prompt":"system\n","query_tokens":16,"dtype":"bfloat16","numerics":"n","condition_bytes":64},"images":{"model_revision":"model","model_name":"nano","default_size":{"height_pixels":64,"width_pixels":96},"size_multiple_pixels":8,"min_size_pixels":32,"max_size_pixels":512,"default_num_inference_steps":20,"default_guidance_scale":4.5,"default_batch_size":4,"numerics":{"dtype":"float32","cpu_capability":"avx512","threads_per_slot":1,"tensor_library":"libtorch 1.13","kernel_path":"amx"}},"started_at":"2026-01-02T03:04:10+00:00"}""";
        const string Status = """{"state":1,"slots":[{"activity":"denoise","rows":4,"job_ids":["job_1","job_2"],"since":"2026-01-02T03:04:06+00:00"}],"images_per_second":1.25,"conditions_per_second":0.5,"images_made":9,"conditions_made":3,"busy_share":0.75,"cache":{"memory_hits":1,"disk_hits":2,"misses":3,"shared_flights":4,"evictions":5,"corrupt_entries":6,"memory_bytes":7,"disk_bytes":8}}""";
        AssertHolds(JsonDocument.Parse(Info).RootElement, JsonSerializer.SerializeToElement(RegistryTests.Worker("a"), WorkerJson.Default.WorkerInfo));
        AssertHolds(JsonDocument.Parse(Status).RootElement, JsonSerializer.SerializeToElement(RegistryTests.Status(9), WorkerJson.Default.WorkerStatus));
        Assert.Equal(RegistryTests.Worker("a"), JsonSerializer.Deserialize(Info, WorkerJson.Default.WorkerInfo));
        Assert.Equal(RegistryTests.Status(9) with { Slots = [] }, JsonSerializer.Deserialize(Status, WorkerJson.Default.WorkerStatus)! with { Slots = [] });
    }

    [Fact]
    public void An_item_with_everything_comes_back_exactly()
    {
        var prompt = new PromptLine
        {
            Line = 12, Index = 7, Prompt = "ein Bär 🐻 \t \"x\"", Id = "00012", IdIsNumber = true, Seed = ulong.MaxValue, NumInferenceSteps = 7, GuidanceScale = 0.1f,
            NegativePrompt = "", OtherFields = Encoding.UTF8.GetBytes("""  "weight":1.50e+3, "ü":[1, 2 ],"weight2":-0.0 """),
        };
        var item = new DenoiseItem(
            "job_1", long.MaxValue, "000000007", prompt, new LineSettings(7, 0.1f, "nein"), 3, ulong.MaxValue, Key('a'), Key('b'), new ImageSize(512, 1024), 8,
            ImageFormat.Webp, 80)
        {
            Priority = JobPriority.Interactive, Attempt = 5, RunsAlone = true, RunsSingly = true, Timeout = TimeSpan.FromMilliseconds(1500),
        };
        byte[] bytes = WorkItemCodec.ToBytes(item);
        var read = Assert.IsType<DenoiseItem>(WorkItemCodec.Read(bytes));
        Assert.Equal(item with { Prompt = read.Prompt }, read);
        Assert.Equal(prompt.OtherFields.ToArray(), read.Prompt.OtherFields.ToArray());
        Assert.Equal(
            (prompt.Line, prompt.Index, prompt.Prompt, prompt.Id, prompt.IdIsNumber, prompt.Seed, prompt.NumInferenceSteps),
            (read.Prompt.Line, read.Prompt.Index, read.Prompt.Prompt, read.Prompt.Id, read.Prompt.IdIsNumber, read.Prompt.Seed, read.Prompt.NumInferenceSteps));
        Assert.Equal((prompt.GuidanceScale, prompt.NegativePrompt), (read.Prompt.GuidanceScale, read.Prompt.NegativePrompt));
        Assert.Equal(bytes, WorkItemCodec.ToBytes(read));
    }

    /// <summary>Members may be added, none may go or change.</summary>
    private static void AssertHolds(JsonElement frozen, JsonElement now)
    {
        foreach (JsonProperty member in frozen.EnumerateObject())
        {
            Assert.True(now.TryGetProperty(member.Name, out JsonElement value), $"{member.Name} is gone");
            if (member.Value.ValueKind == JsonValueKind.Object)
            {
                AssertHolds(member.Value, value);
            }
            else
            {
                Assert.True(JsonElement.DeepEquals(member.Value, value), $"{member.Name} was {member.Value} and is {value}");
            }
        }
    }

    private static ConditionKey Key(char digit) => ConditionKey.Parse(new string(digit, 64));

    private static string Hex(WorkOutcome outcome, InboxPlace? place) => Convert.ToHexStringLower(OutcomeFormat.Write(outcome, place));
}
