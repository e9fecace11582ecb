using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Orleans.Tests.Doubles;
using Orleans.Runtime;

namespace MetaQuery.Orleans.Tests;

/// <summary>Three silos in this process over a real redis-server, with a model of toys: what grains do with jobs, slots and tenants.</summary>
public sealed class ClusterTests(Cluster cluster) : IClassFixture<Cluster>
{
    [Fact]
    public async Task A_job_given_to_any_silo_goes_through_the_grains_and_comes_out_as_the_embedded_run_makes_it()
    {
        var prompts = Enumerable.Range(0, 12).Select(i => $"picture {i}").ToArray();
        using var folder = new Workspace();
        await new EmbeddedFarm(new ToyModel()).RunAsync(
            new JobSpec { Prompts = prompts, ImagesPerPrompt = 2, Seed = 5, OutFolder = folder["reference"] }, new FarmOptions(), progress: null, CancellationToken.None);

        foreach (ToySilo silo in cluster.Silos.Where(silo => silo.Client is not null))
        {
            Job job = await silo.Client.CreateJobAsync(new JobRequest { Prompts = prompts, ImagesPerPrompt = 2, Seed = 5 });
            Job ended = await cluster.EndOfAsync(job.Id);
            Assert.Equal("completed", ended.State);
            Assert.Equal(Workspace.HashOutput(folder["reference"]), Workspace.HashOutput(Path.Combine(cluster.Data, "jobs", job.Id, "out")));
        }
    }

    [Fact]
    public async Task An_upload_is_taken_by_a_silo_that_has_not_the_head_and_its_files_are_had_from_there()
    {
        ToySilo other = await cluster.NotTheHeadAsync();
        Job job = await other.Client.UploadJobAsync(new JobRequest { Name = "upload" }, new MemoryStream("a dog\na cat\n"u8.ToArray()), "prompts.txt");
        await cluster.EndOfAsync(job.Id);
        FileList files = await other.Client.ListFilesAsync(job.Id);
        Assert.Contains(files.Data, file => file.Name == "00000.tar");
        Assert.NotEmpty(await other.Client.GetImageAsync(job.Id, 1));
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(cluster.Data, "uploads")));
    }

    [Fact]
    public async Task Pictures_go_along_with_an_upload_and_a_line_opens_no_file_of_a_silo()
    {
        ToySilo other = await cluster.NotTheHeadAsync();
        var pixels = new Imaging.RgbImage(8, 8);
        byte[] picture = Imaging.ImageEncoder.Encode(pixels, Imaging.ImageFormat.Png);
        string lines = "{\"prompt\":\"red\",\"images\":[\"d/k\u00e4tzchen.png\"]}\n{\"prompt\":\"x\",\"images\":[\"/etc/hostname\"]}\n{\"prompt\":\"y\",\"images\":[\"prompts.jsonl\"]}\n";
        Job job = await other.Client.UploadJobAsync(
            new JobRequest(), new MemoryStream(System.Text.Encoding.UTF8.GetBytes(lines)), "prompts.jsonl", [new PictureUpload("d/k\u00e4tzchen.png", () => new MemoryStream(picture))]);
        Job ended = await cluster.EndOfAsync(job.Id);
        Assert.Equal(("completed_with_errors", 1L, 2L), (ended.State, ended.Counts.Written, ended.Counts.Failed));
        Assert.All((await other.Client.ListFailuresAsync(job.Id)).Data, failure => Assert.Contains("no picture of this name was uploaded", failure.Reason, StringComparison.Ordinal));
        Assert.Empty(Directory.EnumerateFileSystemEntries(Path.Combine(cluster.Data, "uploads")));
        Assert.Single((await other.Client.EditImagesAsync(new ImageEditRequest { Prompt = "blue", ImageGuidance = 2 }, [picture])).Data);
        Assert.Equal("image_guidance", (await Assert.ThrowsAsync<FarmApiException>(() => other.Client.CreateJobAsync(new JobRequest { Prompts = ["x"], ImageGuidance = 2 }))).Error.Param);
    }

    [Fact]
    public async Task A_line_that_is_wrong_is_named_through_the_cluster_as_without_one()
    {
        ToySilo other = await cluster.NotTheHeadAsync();
        var error = await Assert.ThrowsAsync<FarmApiException>(() =>
            other.Client.UploadJobAsync(new JobRequest(), new MemoryStream("{\"prompt\": 3}\n"u8.ToArray()), "prompts.jsonl"));
        Assert.Equal(400, error.Status);
        Assert.Contains("line 1", error.Message, StringComparison.Ordinal);
        var missing = await Assert.ThrowsAsync<FarmApiException>(() => other.Client.GetJobAsync("job_0000000000000000000000000"));
        Assert.Equal(404, missing.Status);
    }

    [Fact]
    public async Task Events_reach_who_watches_on_another_silo_than_the_heads()
    {
        ToySilo other = await cluster.NotTheHeadAsync();
        Job job = await other.Client.CreateJobAsync(new JobRequest { Prompts = ["watched"], ImagesPerPrompt = 8 });
        var states = new List<string>();
        await foreach (var happened in other.Client.WatchJobAsync(job.Id))
        {
            states.Add(happened.Data.Job.State);
        }

        Assert.Equal("completed", states[^1]);
    }

    [Fact]
    public async Task The_same_idempotency_key_through_two_silos_is_one_job()
    {
        var heads = cluster.Silos.Where(silo => silo.Client is not null).ToList();
        Job one = await heads[0].Client.CreateJobAsync(new JobRequest { Prompts = ["once"] }, "the-key");
        Job two = await heads[1].Client.CreateJobAsync(new JobRequest { Prompts = ["once"] }, "the-key");
        Assert.Equal(one.Id, two.Id);
    }

    [Fact]
    public async Task A_job_has_a_ticket_in_storage_and_a_reminder_until_it_ends_and_none_after()
    {
        using RunningJob slow = await cluster.HoldAsync();
        var grain = cluster.Grains.GetGrain<IJobGrain>(slow.Id);
        JobTicket ticket = (await Until.Async(grain.GetTicketAsync, known => known is { State: JobState.Running }, "the ticket to say running"))!;
        Assert.Equal((slow.Id, await cluster.HeadAsync()), (ticket.JobId, ticket.HeadSilo));
        Assert.Single(cluster.KeysOf(slow.Id, "state"));
        Assert.True(cluster.HasReminder(slow.Id));
        slow.LetGo();
        await cluster.EndOfAsync(slow.Id);
        await Until.Async(grain.GetTicketAsync, known => known is null, "the ticket to go");
        await Until.Async(() => Task.FromResult(cluster.KeysOf(slow.Id, "state")), keys => keys.Length == 0, "the state to go");
        await Until.Async(() => Task.FromResult(cluster.HasReminder(slow.Id)), has => !has, "the reminder to go");
    }

    [Fact]
    public async Task Each_slots_grain_is_on_the_silo_that_owns_the_slot()
    {
        var management = cluster.Grains.GetGrain<IManagementGrain>(0);
        foreach (ToySilo silo in cluster.Silos)
        {
            for (int slot = 0; slot < 2; slot++)
            {
                string key = new SlotKey(silo.Address, slot).ToString();
                Assert.Equal("running", (await cluster.Grains.GetGrain<IDitGrain>(key).GetAsync()).State);
                Assert.Equal(silo.Address, await management.GetActivationAddress(cluster.Grains.GetGrain<IDitGrain>(key)));
                Assert.Equal(silo.Address, await management.GetActivationAddress(cluster.Grains.GetGrain<IMllmGrain>(key)));
            }
        }
    }

    [Fact]
    public async Task A_slot_of_a_process_that_is_gone_is_nowhere()
    {
        string key = new SlotKey(SiloAddress.New(cluster.Silos[0].Address.Endpoint, 1), 0).ToString();
        await Assert.ThrowsAnyAsync<Exception>(() => cluster.Grains.GetGrain<IDitGrain>(key).GetAsync());
    }

    [Fact]
    public async Task The_admin_sees_every_silo_with_its_slots_and_grains_and_one_head()
    {
        ToySilo other = await cluster.NotTheHeadAsync();
        SiloList silos = await Until.Async(() => other.Client.ListSilosAsync(), list => list.Data.Count == 3 && list.Data.All(silo => silo.State == "active"), "three active silos");
        Assert.True(silos.Cluster);
        Assert.Equal(cluster.Silos.Select(silo => silo.Id).Order(StringComparer.Ordinal), silos.Data.Select(silo => silo.Id).Order(StringComparer.Ordinal));
        Assert.Single(silos.Data, silo => silo.Head);
        Assert.All(silos.Data, silo => Assert.True(silo.Slots.Count >= 2, $"{silo.Id} has {silo.Slots.Count} slots"));
        Assert.All(silos.Data, silo => Assert.True(silo.Activations["DitGrain"] >= 2 && silo.MemoryBytes > 0));
        Assert.Equal(1, silos.Data.Sum(silo => silo.Activations.GetValueOrDefault("HeadGrain")));
    }

    [Fact]
    public async Task A_silo_scales_to_more_slots_and_back_and_its_work_goes_on()
    {
        ToySilo silo = cluster.Silos[1];
        SiloList more = await silo.Client.ScaleSiloAsync(silo.Id, 4);
        Assert.Equal(4, Assert.Single(more.Data).Slots.Count);
        var grain = cluster.Grains.GetGrain<ISiloGrain>(silo.Id);
        await Until.Async(grain.ReportAsync, report => report.Slots.Count(slot => slot.State == "running") == 4, "four slots at work");
        await silo.Client.ScaleSiloAsync(silo.Id, 2);
        await Until.Async(grain.ReportAsync, report => report.Slots.Count(slot => slot.State == "drained") == 2, "two slots drained");
        Job job = await silo.Client.CreateJobAsync(new JobRequest { Prompts = ["after scaling"] });
        Assert.Equal("completed", (await cluster.EndOfAsync(job.Id)).State);
    }

    [Fact]
    public async Task What_a_tenants_grain_was_told_holds_for_its_next_submission_on_any_silo()
    {
        var tenant = cluster.Grains.GetGrain<ITenantGrain>(Cluster.Tenant);
        await tenant.SetRulesAsync(new TenantRules(Weight: 2, MaxQueuedImages: 3));
        ToySilo other = await cluster.NotTheHeadAsync();
        var refused = await Assert.ThrowsAsync<FarmApiException>(() => other.Client.CreateJobAsync(new JobRequest { Prompts = ["four"], ImagesPerPrompt = 4 }));
        Assert.Equal(400, refused.Status);
        await tenant.SetRulesAsync(null);
        Job taken = await other.Client.CreateJobAsync(new JobRequest { Prompts = ["four"], ImagesPerPrompt = 4 });
        await cluster.EndOfAsync(taken.Id);
    }

    [Fact]
    public async Task A_command_that_comes_twice_under_one_name_is_carried_out_once()
    {
        using RunningJob job = await cluster.HoldAsync();
        var grain = cluster.Grains.GetGrain<IJobGrain>(job.Id);
        var call = Guid.NewGuid();
        Assert.Equal(JobState.Cancelled, (await grain.ApplyAsync(call, tenant: null, JobCommand.Cancel)).State);
        var delete = Guid.NewGuid();
        JobView gone = await grain.ApplyAsync(delete, tenant: null, JobCommand.Delete);
        Assert.Equal(gone.Id, (await grain.ApplyAsync(delete, tenant: null, JobCommand.Delete)).Id); // the answer was lost: the same again, not "there is no such job"
    }
}
