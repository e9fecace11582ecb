using System.Text;
using MetaQuery.Data;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>Pictures that come with a job to a head: kept by their hashes, read by workers, gone with the last job that names them.</summary>
public sealed class FarmHeadPictureTests : IDisposable
{
    private static readonly byte[] Cat = PictureTests.Png(8, 8);
    private static readonly byte[] Dog = PictureTests.Png(12, 12);

    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    private string Pictures => _work["data/pictures"];

    [Fact]
    public async Task Pictures_sent_along_are_read_by_workers_and_go_with_the_last_job_that_names_them()
    {
        await using ToyFarm farm = await StartAsync();
        JobView first = await SubmitAsync(farm, """{"prompt":"red","images":["cat"]}""" + "\n" + """{"prompt":"both","images":["cat","dog"]}""", ("cat", Cat), ("dog", Dog), ("unnamed", PictureTests.Png(16, 16)));
        JobView second = await SubmitAsync(farm, $$"""{"prompt":"blue","images":["data:image/png;base64,{{Convert.ToBase64String(Cat)}}"]}""");
        Assert.Equal(new[] { PictureTests.Sha(Cat), PictureTests.Sha(Dog) }.Order(StringComparer.Ordinal), Names()); // the one that no line names is not kept
        await using (Hire(farm, Pictures))
        {
            Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(first.Id)).State);
            Assert.Equal(JobState.Completed, (await farm.UntilEndedAsync(second.Id)).State);
        }

        await farm.ApplyAsync(first.Id, JobCommand.Delete);
        Assert.Equal([PictureTests.Sha(Cat)], Names());
        await farm.ApplyAsync(second.Id, JobCommand.Delete);
        Assert.Empty(Names());
    }

    [Fact]
    public async Task A_head_started_again_opens_no_picture_a_second_time_and_makes_the_same_bytes()
    {
        string lines = string.Join('\n', Enumerable.Range(0, 12).Select(i => $$"""{"prompt":"{{i}}","images":["cat","d/dög.png"],"seed":{{i}}}""").Append("""{"prompt":"lost","images":["nowhere"]}"""));
        await using (ToyFarm whole = await StartAsync("whole"))
        {
            JobView job = await SubmitAsync(whole, lines, ("cat", Cat), ("d/dög.png", Dog));
            await using var workers = Hire(whole, _work["whole/pictures"]);
            Assert.Equal(JobState.CompletedWithErrors, (await whole.UntilEndedAsync(job.Id)).State);
        }

        string id;
        await using (ToyFarm farm = await StartAsync())
        {
            id = (await SubmitAsync(farm, lines, ("cat", Cat), ("d/dög.png", Dog))).Id;
            await using var workers = Hire(farm, Pictures);
            await farm.UntilAsync(id, job => job.Counts.Written >= 1);
        }

        File.WriteAllBytes(Path.Combine(Pictures, new string('0', 64)), Cat); // of a submission that died: no job names it
        await using (ToyFarm next = await StartAsync())
        {
            Assert.Equal(2, Names().Length);
            await using var workers = Hire(next, Pictures);
            JobView ended = await next.UntilEndedAsync(id);
            Assert.Equal((JobState.CompletedWithErrors, 12L, 1L), (ended.State, ended.Counts.Written, ended.Counts.Failed));
            FailedSample lost = Assert.Single(await next.Head.ListFailuresAsync(new JobReference(id, null), 10, CancellationToken.None));
            Assert.Equal("nowhere: no picture of this name was uploaded; upload it along, or give it as a data: URI", lost.Reason);
        }

        Assert.Equal(Hash("whole"), Hash("data"));

        SortedDictionary<string, string> Hash(string data)
        {
            SortedDictionary<string, string> files = Workspace.HashOutput(Path.Combine(Directory.EnumerateDirectories(_work[data + "/jobs"]).Single(), "out"));
            return files;
        }
    }

    [Theory]
    [InlineData("/etc/hostname")]
    [InlineData("../../../../etc/hostname")]
    [InlineData("prompts.jsonl")]
    [InlineData("file:///etc/hostname")]
    [InlineData("http://127.0.0.1:1/cat.png")]
    public async Task What_a_request_names_is_never_opened_as_a_path(string name)
    {
        await using ToyFarm farm = await StartAsync();
        JobView job = await SubmitAsync(farm, $$"""{"prompt":"x","images":["{{name}}"]}""" + "\n{\"prompt\":\"text\"}");
        await using var workers = Hire(farm, Pictures);
        Assert.Equal((JobState.CompletedWithErrors, 1L), ((await farm.UntilEndedAsync(job.Id)).State, (await farm.GetAsync(job.Id)).Counts.Failed));
        Assert.Contains("no picture of this name was uploaded", (await farm.Head.ListFailuresAsync(new JobReference(job.Id, null), 1, CancellationToken.None))[0].Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task The_same_key_gives_the_same_job_for_the_same_pictures_only()
    {
        await using ToyFarm farm = await StartAsync();
        const string line = """{"prompt":"red","images":["cat"]}""";
        JobView first = await SubmitAsync(farm, line, key: "k", ("cat", Cat));
        Assert.Equal(first.Id, (await SubmitAsync(farm, line, key: "k", ("cat", Cat))).Id);
        await Assert.ThrowsAsync<IdempotencyConflictException>(() => SubmitAsync(farm, line, key: "k", ("cat", Dog)));
        Assert.Equal([PictureTests.Sha(Cat)], Names());
    }

    [Fact]
    public async Task A_picture_that_vanished_or_was_damaged_fails_its_prompts_alone()
    {
        await using ToyFarm farm = await StartAsync();
        JobView job = await SubmitAsync(farm, """{"prompt":"c","images":["cat"]}""" + "\n" + """{"prompt":"d","images":["dog"]}""" + "\n" + """{"prompt":"t"}""", ("cat", Cat), ("dog", Dog));
        File.Delete(Path.Combine(Pictures, PictureTests.Sha(Cat)));
        File.WriteAllBytes(Path.Combine(Pictures, PictureTests.Sha(Dog)), Cat);
        await using var workers = Hire(farm, Pictures);
        JobView ended = await farm.UntilEndedAsync(job.Id);
        Assert.Equal((JobState.CompletedWithErrors, 1L, 2L), (ended.State, ended.Counts.Written, ended.Counts.Failed));
        IReadOnlyList<FailedSample> failed = await farm.Head.ListFailuresAsync(new JobReference(job.Id, null), 10, CancellationToken.None);
        Assert.Contains("is not in", failed[0].Reason, StringComparison.Ordinal);
        Assert.Contains("is damaged", failed[1].Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_picture_that_is_too_large_fails_the_lines_that_name_it_alone()
    {
        await using ToyFarm farm = await StartAsync();
        JobView job = await SubmitAsync(
            farm, """{"prompt":"l","images":["large"]}""" + "\n" + """{"prompt":"c","images":["cat"]}""", ("large", new byte[UploadedPicture.MostBytes]), ("cat", Cat));
        Assert.Equal([PictureTests.Sha(Cat)], Names());
        await using var workers = Hire(farm, Pictures);
        JobView ended = await farm.UntilEndedAsync(job.Id);
        Assert.Equal((JobState.CompletedWithErrors, 1L, 1L), (ended.State, ended.Counts.Written, ended.Counts.Failed));
        Assert.Contains("large has more than 33554432 bytes", (await farm.Head.ListFailuresAsync(new JobReference(job.Id, null), 1, CancellationToken.None))[0].Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_folder_of_pictures_that_cannot_be_reached_fails_nothing_and_holds_up_no_prompt_of_text()
    {
        await using ToyFarm farm = await StartAsync();
        JobView job = await SubmitAsync(
            farm, string.Join('\n', Enumerable.Range(0, 6).Select(i => i % 2 == 0 ? $$"""{"prompt":"t{{i}}"}""" : $$"""{"prompt":"c{{i}}","images":["cat"]}""")), ("cat", Cat));
        Directory.Move(Pictures, Pictures + ".away");
        await using var workers = Hire(farm, Pictures);
        await farm.UntilAsync(job.Id, view => view.Counts.Denoised >= 3);
        Directory.Move(Pictures + ".away", Pictures);
        JobView ended = await farm.UntilEndedAsync(job.Id);
        Assert.Equal((JobState.Completed, 6L, 0L), (ended.State, ended.Counts.Written, ended.Counts.Failed));
    }

    [Fact]
    public async Task A_worker_that_cannot_reach_the_pictures_gives_their_prompts_back_for_one_that_can()
    {
        await using ToyFarm farm = await StartAsync();
        JobView job = await SubmitAsync(farm, string.Join('\n', Enumerable.Range(0, 60).Select(i => $$"""{"prompt":"c{{i}}","images":["cat"]}""")), ("cat", Cat));
        var cache = new ConditionCache(1 << 20, []);
        var log = new LogBook();
        await using var blind = Hire(farm, _work["nowhere"], cache, new WorkerOptions { LeaseTime = TimeSpan.FromMilliseconds(300), Log = log });
        await ToyFloor.Until(() => farm.Queue.DepthAsync(farm.Model.Description.Lane, CancellationToken.None).Result.Leased >= 16);
        await using var seeing = Hire(farm, Pictures, cache);
        JobView ended = await farm.UntilEndedAsync(job.Id);
        Assert.Equal((JobState.Completed, 60L, 0L), (ended.State, ended.Counts.Written, ended.Counts.Failed));
        Assert.Contains("the folder of pictures has given nothing", Assert.Single(log.Entries).Message, StringComparison.Ordinal); // told once
    }

    [Fact]
    public void A_folder_that_is_not_there_is_an_outage_and_a_picture_that_is_not_in_it_is_none()
    {
        string hash = PictureTests.Sha(Cat);
        var folder = new PictureFolder(_work["nowhere"]);
        Assert.True(Assert.Throws<PictureOutageException>(() => folder.Read(hash)).IsTransient);
        Assert.False(folder.IsReachable);
        Directory.CreateDirectory(_work["nowhere"]);
        Assert.True(folder.IsReachable);
        Assert.False(Assert.Throws<PictureException>(() => folder.Read(hash)).IsTransient);
    }

    [Fact]
    public void What_is_wrong_with_a_name_is_told_from_storage_that_gives_nothing()
    {
        static IOException Errno(int number) => new("said the system", number);
        Assert.All(new[] { 5, 23, 24, 107, 110, 112, 116 }, number => Assert.True(PictureFiles.IsOutage(Errno(number)), $"errno {number}"));
        Exception[] names = [new FileNotFoundException(), new DirectoryNotFoundException(), new PathTooLongException(), new UnauthorizedAccessException(), new EndOfStreamException(), Errno(40), Errno(6), Errno(20)];
        Assert.All(names, exception => Assert.False(PictureFiles.IsOutage(exception), exception.ToString()));
        File.CreateSymbolicLink(_work["loop"], _work["loop"]);
        File.WriteAllBytes(_work["cat.png"], Cat);
        Func<string, byte[]> open = PictureFiles.Beside(Path.GetDirectoryName(_work["loop"])!);
        Assert.Equal(Cat, open("cat.png"));
        Assert.Contains("cannot be read", Assert.Throws<PictureException>(() => open("loop")).Message, StringComparison.Ordinal);
        Assert.All(new[] { "cat.png/", "cat.png/x.png" }, name => Assert.Contains("no such file", Assert.Throws<PictureException>(() => open(name)).Message, StringComparison.Ordinal));
    }

    [Fact]
    public void What_was_written_down_of_a_jobs_pictures_is_frozen()
    {
        using var writer = new PictureIndex.Writer(_work["pictures.index"]);
        writer.Add(3, new LinePictures([new LinePicture(new string('a', 64), 300, 200), new LinePicture(new string('b', 64), 1, 2)], null));
        writer.Add(7, new LinePictures([], "gone"));
        (PictureIndex index, string digest) = writer.Commit();
        Assert.Equal(
            "4D515049435301490000000302" + new string('A', 64) + "AC02C801" + new string('B', 64) + "01020007000000070004676F6E65", Convert.ToHexString(File.ReadAllBytes(_work["pictures.index"])));
        Assert.Equal(64, digest.Length);
        (long prompt, LinePictures pictures)[] read = [.. index.Read()];
        Assert.Equal([3L, 7L], read.Select(record => record.prompt));
        Assert.Equal([new LinePicture(new string('a', 64), 300, 200), new LinePicture(new string('b', 64), 1, 2)], read[0].pictures.Pictures);
        Assert.Equal("gone", read[1].pictures.Fault);
        foreach (int length in new[] { 3, 7 + 2, 7 + 4 + 10 })
        {
            byte[] cut = File.ReadAllBytes(_work["pictures.index"])[..length];
            Directory.CreateDirectory(_work["cut"]);
            File.WriteAllBytes(_work["cut/" + PictureIndex.FileName], cut);
            Assert.Contains("is damaged", Assert.Throws<PromptFileException>(() => PictureIndex.Find(_work["cut"])!.Read().ToList()).Message, StringComparison.Ordinal);
        }
    }

    private Task<ToyFarm> StartAsync(string data = "data") => ToyFarm.StartAsync(_work[data], model: new ToyModel { ReadsPictures = true });

    private string[] Names() => [.. Directory.EnumerateFiles(Pictures).Select(path => Path.GetFileName(path)!).Order(StringComparer.Ordinal)];

    private static Task<JobView> SubmitAsync(ToyFarm farm, string lines, params (string Name, byte[] File)[] pictures) => SubmitAsync(farm, lines, null, pictures);

    private static Task<JobView> SubmitAsync(ToyFarm farm, string lines, string? key, params (string Name, byte[] File)[] pictures) => farm.Head.SubmitAsync(
        new JobSubmission
        {
            Spec = new JobSpec { OutFolder = "ignored", Seed = 5 },
            Prompts = new MemoryStream(Encoding.UTF8.GetBytes(lines)),
            PromptsFormat = "jsonl",
            Pictures = pictures.Select(picture => new UploadedPicture(picture.Name, picture.File)).ToAsyncEnumerable(),
            Tenant = "toys",
            IdempotencyKey = key,
        },
        CancellationToken.None);

    private static HiredHost Hire(ToyFarm farm, string pictures, ConditionCache? cache = null, WorkerOptions? options = null) =>
        new(farm, farm.Model, cache ?? new ConditionCache(1 << 20, []), (options ?? new WorkerOptions()) with { Slots = 2, Pictures = new PictureFolder(pictures) });
}
