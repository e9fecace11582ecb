using System.Reflection;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using Microsoft.Extensions.DependencyInjection;
using Orleans.Serialization;

namespace MetaQuery.Orleans.Tests;

/// <summary>What crosses silos and lies in grain storage: named, numbered, frozen. Silos of two versions stand beside each other during an update.</summary>
public sealed class ContractTests : IDisposable
{
    private static readonly DateTimeOffset Time = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);
    private readonly ServiceProvider _services = new ServiceCollection().AddSerializer(builder => builder.AddAssembly(typeof(IJobGrain).Assembly)).BuildServiceProvider();

    private Serializer Serializer => _services.GetRequiredService<Serializer>();

    public void Dispose() => _services.Dispose();

    public static TheoryData<string> Names() => [.. Samples().Keys];

    /// <summary>One of each contract, every field set to something else than its default.</summary>
    private static Dictionary<string, object> Samples()
    {
        var settings = new ResolvedSettings(new ImageSize(64, 96), 20, 4.5f, "people", 7, 2, 100, ImageFormat.Webp, 80, 4) { ImageGuidanceScale = 2.5f };
        var job = new JobView(
            "job_1", "name", "tenant", JobKind.DataSet, JobPriority.Interactive, JobState.Running, "why", new JobCounts(1, 2, 3, 4, 5, 6, 7), 8.5, TimeSpan.FromSeconds(9),
            settings, ["line 3"], "numerics", Time, Time.AddSeconds(1), Time.AddSeconds(2), Time.AddSeconds(3));
        var sample = new SampleView(3, "00003", "a dog", 1, "{}");
        return new Dictionary<string, object>(StringComparer.Ordinal)
        {
            ["JobView"] = job,
            ["JobEvent"] = new JobEvent("e-1", "samples", job, [4, 5]),
            ["JobPage"] = new JobPage([job], "job_0"),
            ["JobQuery"] = new JobQuery("tenant", 10, "job_9", true, [JobState.Failed, JobState.Paused]),
            ["JobSubmission"] = new JobSubmission
            {
                Spec = new JobSpec
                {
                    OutFolder = "", PromptFile = "/data/uploads/x.txt", Prompts = ["a", "b"], ImagesPerPrompt = 2, Size = new ImageSize(64, 96), NumInferenceSteps = 3, GuidanceScale = 1.5f,
                    NegativePrompt = "n", Seed = 9, SamplesPerShard = 8, Format = ImageFormat.Jpeg, Quality = 70, Priority = JobPriority.Interactive, Dtype = "float32", BatchSize = 4, SkipInvalid = true, ImageGuidanceScale = 2.5f, Images = ["x.png"],
                },
                Tenant = "tenant", Name = "name", IdempotencyKey = "key", Kind = JobKind.Request, Deadline = Time, TaskTimeout = TimeSpan.FromSeconds(5), PromptsFormat = "txt",
            },
            ["SamplePage"] = new SamplePage([sample], 4),
            ["SampleContent"] = new SampleContent(sample, new byte[] { 1, 2, 3 }, "image/png"),
            ["FailedSample"] = new FailedSample("00001", 1, 2, "a cat", "why"),
            ["JobFile"] = new JobFile("00000.tar", 512, "application/x-tar", "abc"),
            ["TenantUsage"] = new TenantUsage("tenant", 1, 2),
            ["TenantRules"] = new TenantRules(2.5, 100, 1000),
            ["FarmCounters"] = new FarmCounters(
                new ConditionCacheCounters(1, 2, 3, 4, 5, 6, 7, 8) { RedisHits = 9, RedisBytes = 10, MadeAgain = 11 }, new Dictionary<JobState, int> { [JobState.Running] = 2 }, 12,
                new Dictionary<string, LaneDepth> { ["lane"] = new(1, 2, 3, 4) }, 13, 14, 15, 16, 17, 18, TimeSpan.FromSeconds(19)),
            ["SiloView"] = new SiloView(
                "127.0.0.1:1@1", "host", 5, "active", ["head"], true, [new SiloSlotView(0, "running", "w", "denoise", 3, 0.5, 1.5, 10, 11)], new Dictionary<string, int> { ["JobGrain"] = 2 }, 0.25, 99,
                Time, ["http://127.0.0.1:8080"]),
            ["HeadStanding"] = new HeadStanding("127.0.0.1:1@1", true, true, "why", 6),
            ["SubmitAnswer"] = new SubmitAnswer(job),
            ["JobGrainState"] = new JobGrainState { Ticket = new JobTicket("job_1", "tenant", "name", JobPriority.Interactive, JobState.Running, 1, 2, "127.0.0.1:1@1", 3, Time) },
            ["TenantGrainState"] = new TenantGrainState { Rules = new TenantRules(2, 3, 4) },
            ["SiloReport"] = new SiloReport("127.0.0.1:1@1", [new SiloSlotView(1, "drained", null, "idle", 0, 0.5, 1, 2, 3)], true, Time, "host", 5, 0.5, 6),
        };
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_contract_comes_out_as_it_went_in(string name)
    {
        object sample = Samples()[name];
        object? read = Serializer.Deserialize<object>(Serializer.SerializeToArray<object>(sample));
        Assert.Equivalent(sample, read, strict: true);
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void A_contracts_bytes_are_those_that_were_frozen(string name)
    {
        string actual = Convert.ToHexString(Serializer.SerializeToArray<object>(Samples()[name]));
        Assert.True(FrozenBytes.Of.TryGetValue(name, out string? frozen), $"[\"{name}\"] = \"{actual}\", // not frozen yet");
        Assert.Equal(frozen, actual);
    }

    [Fact]
    public void Every_type_that_crosses_silos_has_a_name_and_numbers_of_its_own()
    {
        Type[] types = [.. typeof(IJobGrain).Assembly.GetTypes().Where(
            type => type.Namespace == typeof(IJobGrain).Namespace && type.GetCustomAttribute<GenerateSerializerAttribute>() is not null)]; // calls themselves, which are generated, carry their names in their own way
        Assert.NotEmpty(types);
        Assert.All(types, type => Assert.StartsWith("mq.", type.GetCustomAttribute<AliasAttribute>()?.Alias, StringComparison.Ordinal));
        Assert.Equal(types.Length, types.Select(type => type.GetCustomAttribute<AliasAttribute>()!.Alias).Distinct(StringComparer.Ordinal).Count());
        foreach (Type type in types)
        {
            uint[] ids = [.. type.GetMembers(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).Select(member => member.GetCustomAttribute<IdAttribute>()).OfType<IdAttribute>().Select(id => id.Id).Order()];
            Assert.Equal(Enumerable.Range(0, ids.Length).Select(id => (uint)id), ids);
        }
    }

    [Fact]
    public void Every_grain_and_each_of_its_calls_has_a_name_that_a_rename_does_not_change()
    {
        Type[] grains = [.. typeof(IJobGrain).Assembly.GetTypes().Where(type => type.IsInterface && typeof(IGrain).IsAssignableFrom(type))];
        Assert.Equal(8, grains.Length);
        Assert.All(grains, grain => Assert.StartsWith("mq.", grain.GetCustomAttribute<AliasAttribute>()?.Alias, StringComparison.Ordinal));
        string[] calls =
        [
            .. from grain in grains
               from call in grain.GetMethods()
               select $"{grain.Name}.{call.GetCustomAttribute<AliasAttribute>()?.Alias ?? "(none)"}",
        ];
        Assert.Equal(FrozenBytes.Calls, calls.Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Failures))]
    public void A_farms_failure_comes_out_of_another_silo_as_the_type_it_was(Exception thrown)
    {
        var fault = Assert.IsType<GrainFaultException>(GrainFaultException.Of(thrown));
        var read = Assert.IsType<GrainFaultException>(Serializer.Deserialize<Exception>(Serializer.SerializeToArray<Exception>(fault)));
        Exception told = read.ToFarmException();
        Assert.Equal(thrown.GetType(), told.GetType());
        Assert.Equal(thrown.Message, told.Message);
        Assert.Equal((thrown as QueueFullException)?.RetryAfter, (told as QueueFullException)?.RetryAfter);
        Assert.Equal((thrown as JobSpecException)?.Field, (told as JobSpecException)?.Field);
    }

    public static TheoryData<Exception> Failures() =>
    [
        new JobNotFoundException("no such job"), new JobStateException("not now"), new IdempotencyConflictException("another content"),
        new QueueFullException("full", TimeSpan.FromSeconds(42)), new JobSpecException("steps") { Field = "steps" }, new ModelMismatchException("other model"),
        new Data.PromptFileException("line 3"), new Data.StorageException(Data.StorageFault.DiskFull, "the disk is full"),
    ];

    [Fact]
    public void A_submission_with_its_stream_does_not_cross_silos() =>
        Assert.Throws<InvalidOperationException>(() => Serializer.SerializeToArray<object>(new JobSubmission { Spec = new JobSpec { OutFolder = "" }, Tenant = "t", Prompts = Stream.Null }));
}
