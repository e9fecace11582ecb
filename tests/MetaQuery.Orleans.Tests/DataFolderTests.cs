using MetaQuery.Chaos;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Orleans.Tests.Doubles;
using MetaQuery.Redis;
using MetaQuery.TestKit;

namespace MetaQuery.Orleans.Tests;

/// <summary>What silos keep in the data folder beside the head's own: heads' numbers, uploads on their way.</summary>
public sealed class DataFolderTests : IDisposable
{
    private readonly Workspace _folder = new();

    private string EpochPath => _folder["data/head.epoch"];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Each_head_of_a_folder_has_a_greater_number_also_after_one_whose_write_was_cut_off()
    {
        using DataFolder folder = DataFolder.Take(_folder["data"]);
        Assert.Equal([1L, 2L, 3L], Enumerable.Range(0, 3).Select(_ => HeadEpoch.Next(folder)));
        string whole = File.ReadAllText(EpochPath);
        File.WriteAllText(EpochPath, whole.Replace("00000000000000000002 0000", "00000000000000000004 0000", StringComparison.Ordinal)); // 4 over 2 was begun
        Assert.NotEqual(whole, File.ReadAllText(EpochPath));
        Assert.Equal([4L, 5L], Enumerable.Range(0, 2).Select(_ => HeadEpoch.Next(folder))); // nobody was 4
        Assert.Equal(whole.Length, new FileInfo(EpochPath).Length);
    }

    [Fact]
    public void The_file_of_the_first_version_is_read_and_counted_on_from()
    {
        using DataFolder folder = DataFolder.Take(_folder["data"]);
        File.WriteAllText(EpochPath, "41\n");
        Assert.Equal((42L, 43L), (HeadEpoch.Next(folder), HeadEpoch.Next(folder)));
        Assert.Equal("00000000000000000042 00000000000000000042\n00000000000000000043 00000000000000000043\n", OrderedLines()); // frozen
    }

    [Theory]
    [InlineData("")]
    [InlineData("many\n")]
    [InlineData("00000000000000000042 00000000000000000041\n00000000000000000043 0000000000000000004x\n")]
    public void A_file_that_holds_no_number_is_named_and_not_counted_from_nought(string text)
    {
        using DataFolder folder = DataFolder.Take(_folder["data"]);
        File.WriteAllText(EpochPath, text);
        Assert.Contains(EpochPath, Assert.Throws<JournalDamagedException>(() => HeadEpoch.Next(folder)).Message, StringComparison.Ordinal);
        Assert.Equal(text, File.ReadAllText(EpochPath));
    }

    [Fact]
    public async Task A_head_starts_on_a_full_disk_and_says_what_it_lacks()
    {
        if (!Environment.IsPrivilegedProcess)
        {
            Console.WriteLine("not covered here: only root may mount a tmpfs");
            return;
        }

        using DataDisk disk = DataDisk.Create(_folder.Root, mebibytes: 16, mounts: true);
        using RealRedis redis = RealRedis.With();
        await using (ToySilo first = await ToySilo.StartAsync(redis, disk.DataFolder))
        {
            await Until.Async(() => Task.FromResult(first.Whereabouts.Last), standing => standing is { IsRunning: true }, "the first head");
        }

        disk.Fill();
        await using ToySilo second = await ToySilo.StartAsync(redis, disk.DataFolder);
        await Until.Async(() => Task.FromResult(second.Whereabouts.Last), standing => standing is { IsRunning: true, Epoch: 2 }, "a head on the full disk", TimeSpan.FromMinutes(1));
        disk.Free();
        await Until.Async(() => Task.FromResult(second.Whereabouts.Last), standing => standing is { IsReady: true }, "the head to be ready");
    }

    [Fact]
    public async Task Uploads_that_nobody_asks_for_any_more_are_swept_and_those_that_somebody_does_are_not()
    {
        string data = _folder["data"];
        var submission = new JobSubmission { Spec = new JobSpec { OutFolder = "" }, Tenant = "t", PromptsFormat = "txt", Prompts = new MemoryStream("a dog\n"u8.ToArray()), Pictures = Pictures() };
        JobSubmission left = await Uploads.StoreAsync(submission, data, Guid.NewGuid(), CancellationToken.None);
        submission.Prompts!.Position = 0;
        JobSubmission asked = await Uploads.StoreAsync(submission, data, Guid.NewGuid(), CancellationToken.None);
        foreach (string file in Directory.EnumerateFiles(Path.Combine(data, "uploads")))
        {
            File.SetLastWriteTimeUtc(file, DateTime.UtcNow - Uploads.KeptFor - TimeSpan.FromMinutes(1));
        }

        Uploads.KeepUp(asked, data);
        Uploads.Sweep(data, DateTimeOffset.UtcNow);
        Assert.False(File.Exists(Path.Combine(data, "uploads", left.Spec.PromptFile!)));
        string[] kept = [.. new[] { asked.Spec.PromptFile!, asked.Spec.PromptFile + ".pictures" }.Select(name => Path.Combine(data, "uploads", name))];
        Assert.Equal(kept, Directory.EnumerateFiles(Path.Combine(data, "uploads")).Order(StringComparer.Ordinal));

        // its pictures are still being written, long after its prompts
        File.SetLastWriteTimeUtc(kept[0], DateTime.UtcNow - Uploads.KeptFor - TimeSpan.FromMinutes(1));
        Uploads.Sweep(data, DateTimeOffset.UtcNow);
        Assert.All(kept, file => Assert.True(File.Exists(file)));

        static async IAsyncEnumerable<UploadedPicture> Pictures()
        {
            await Task.Yield();
            yield return new UploadedPicture("a.png", new byte[] { 1, 2, 3 });
        }
    }

    [Fact]
    public async Task A_silo_on_another_folder_than_the_farms_takes_no_head_and_changes_nothing_there()
    {
        using RealRedis redis = RealRedis.With();
        await using (ToySilo first = await ToySilo.StartAsync(redis, _folder["data"]))
        {
            await Until.Async(() => Task.FromResult(first.Whereabouts.Last), standing => standing is { IsRunning: true }, "the head");
        }

        Directory.CreateDirectory(_folder["unmounted"]);
        await using (RedisConnection connection = await RedisConnection.ConnectAsync(RedisOptions.Parse(redis.Address), CancellationToken.None))
        {
            var asked = await Assert.ThrowsAsync<OtherDataFolderException>(() => RedisFolderClaim.CheckAsync(connection, _folder["unmounted"]));
            Assert.Contains("is not the data folder of the farm", asked.Message, StringComparison.Ordinal);
            Assert.Empty(Directory.EnumerateFileSystemEntries(_folder["unmounted"]));
            await RedisFolderClaim.CheckAsync(connection, _folder["data"]);
        }

        ToySilo wrong = await ToySilo.StartAsync(redis, _folder["unmounted"]);
        await Assert.ThrowsAsync<OtherDataFolderException>(() => wrong.Running.WaitAsync(TimeSpan.FromMinutes(1)));
        Assert.False(File.Exists(_folder["unmounted/head.epoch"]));
        Assert.Null(DataFolder.IdOf(_folder["unmounted"]));
        await using ToySilo again = await ToySilo.StartAsync(redis, _folder["data"]);
        await Until.Async(() => Task.FromResult(again.Whereabouts.Last), standing => standing is { IsRunning: true, Epoch: 2 }, "the second head of the farm's folder");
    }

    [Fact]
    public async Task A_silo_that_is_asked_to_leave_while_it_joins_is_stopped_and_has_not_failed()
    {
        using RealRedis redis = RealRedis.With();
        var stop = new CancellationTokenSource();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => ToySilo.StartAsync(redis, _folder["data"], stop: stop));
    }

    [Fact]
    public async Task A_silo_alone_on_a_folder_in_use_ends_with_that_reason()
    {
        using DataFolder held = DataFolder.Take(_folder["data"]);
        ToySilo silo = await ToySilo.StartAsync(redis: null, _folder["data"]);
        await Assert.ThrowsAsync<DataFolderInUseException>(() => silo.Running.WaitAsync(TimeSpan.FromMinutes(1)));
    }

    [Fact]
    public async Task An_upload_reaches_a_head_whose_silo_sees_the_data_folder_under_another_path()
    {
        using RealRedis redis = RealRedis.With();
        await using ToySilo first = await ToySilo.StartAsync(redis, _folder["data"]);
        await Until.Async(() => Task.FromResult(first.Whereabouts.Last), standing => standing is { IsRunning: true }, "the head");
        Directory.CreateSymbolicLink(_folder["mount"], _folder["data"]);
        await using ToySilo second = await ToySilo.StartAsync(redis, _folder["mount"]);
        Job job = await second.Client.UploadJobAsync(new JobRequest(), new MemoryStream("a dog\na cat\n"u8.ToArray()), "prompts.txt");
        Assert.Equal(first.Id, second.Whereabouts.Last?.Silo);
        Job ended = await Until.Async(() => second.Client.GetJobAsync(job.Id), seen => seen.State is "completed" or "completed_with_errors" or "failed", "the end of the job");
        Assert.Equal(("completed", 2L), (ended.State, ended.Counts.Written));
        Assert.Empty(Directory.EnumerateFiles(_folder["data/uploads"]));
    }

    [Fact]
    public async Task A_head_sweeps_what_a_dead_silo_left_in_uploads()
    {
        using RealRedis redis = RealRedis.With();
        string left = _folder["data/uploads/0123.txt"];
        Directory.CreateDirectory(Path.GetDirectoryName(left)!);
        File.WriteAllText(left, "a dog\n");
        File.SetLastWriteTimeUtc(left, DateTime.UtcNow - Uploads.KeptFor - TimeSpan.FromMinutes(1));
        await using ToySilo silo = await ToySilo.StartAsync(redis, _folder["data"], SiloRoles.Head, slots: 0);
        await Until.Async(() => Task.FromResult(File.Exists(left)), exists => !exists, "the upload to go", TimeSpan.FromMinutes(1));
    }

    private string OrderedLines() => string.Concat(File.ReadLines(EpochPath).Order(StringComparer.Ordinal).Select(line => line + "\n"));
}
