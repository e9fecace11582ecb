using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Imaging;
using MetaQuery.Orleans.Tests.Doubles;
using Microsoft.Extensions.DependencyInjection;
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
    public async Task Pictures_of_prompts_go_through_a_silo_that_has_not_the_head_to_every_slot_and_come_out_as_the_embedded_run_makes_them()
    {
        using var folder = new Workspace();
        foreach (byte side in (byte[])[8, 12])
        {
            var picture = new RgbImage(side, side);
            Array.Fill(picture.Pixels, (byte)(10 * side));
            File.WriteAllBytes(folder[$"{side}.png"], ImageEncoder.Encode(picture, ImageFormat.Png));
        }

        string prompts = folder.Write("prompts.jsonl", [.. Enumerable.Range(0, 8).Select(i => $$"""{"prompt": "make it {{i}}", "images": ["8.png"{{(i % 2 == 0 ? ", \"12.png\"" : "")}}], "image_guidance_scale": 2}""")]);
        await new EmbeddedFarm(new ToyModel { ReadsPictures = true }).RunAsync(
            new JobSpec { PromptFile = prompts, ImagesPerPrompt = 2, Seed = 5, OutFolder = folder["reference"] }, new FarmOptions(), progress: null, CancellationToken.None);
        ToySilo other = await cluster.NotTheHeadAsync();
        PictureUpload[] pictures = [.. new[] { "8.png", "12.png" }.Select(name => new PictureUpload(name, () => File.OpenRead(folder[name])))];
        Job job = await other.Client.UploadJobAsync(new JobRequest { ImagesPerPrompt = 2, Seed = 5 }, File.OpenRead(prompts), prompts, pictures);
        Assert.Equal("completed", (await cluster.EndOfAsync(job.Id)).State);
        Assert.Equal(Workspace.HashOutput(folder["reference"]), Workspace.HashOutput(Path.Combine(cluster.Data, "jobs", job.Id, "out")));
        Assert.Empty(Directory.EnumerateFiles(Path.Combine(cluster.Data, "uploads")));
    }

    [Fact]
    public async Task An_uploads_lines_cannot_name_files_of_the_silo()
    {
        ToySilo other = await cluster.NotTheHeadAsync();
        Job job = await other.Client.UploadJobAsync(new JobRequest(), new MemoryStream("{\"prompt\": \"a dog\", \"images\": [\"../keys.json\"]}\n{\"prompt\": \"a cat\"}\n"u8.ToArray()), "prompts.jsonl");
        Job ended = await cluster.EndOfAsync(job.Id);
        Assert.Equal((1L, 1L), (ended.Counts.Written, ended.Counts.Failed));
        SampleFailure failure = Assert.Single((await other.Client.ListFailuresAsync(job.Id)).Data);
        Assert.Contains("keys.json", failure.Reason, StringComparison.Ordinal);
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
        Exception nowhere = await Assert.ThrowsAnyAsync<Exception>(() => cluster.Grains.GetGrain<IDitGrain>(key).GetAsync());
        Assert.Contains("belongs to no silo of the cluster", nowhere.ToString(), StringComparison.Ordinal);
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
    public async Task A_silo_that_is_scaled_down_and_at_once_up_again_has_all_its_slots_once_they_have_ended_what_they_had_begun()
    {
        using RunningJob held = await cluster.HoldAsync(new JobRequest { Prompts = [.. Enumerable.Range(0, 12).Select(i => $"held {i}")], ImagesPerPrompt = 4, BatchSize = 1 });
        ISiloGrain grain = cluster.Grains.GetGrain<ISiloGrain>(cluster.Silos[1].Id);
        await Until.Async(grain.ReportAsync, report => report.Slots.Take(2).All(slot => slot.Rows > 0), "both slots to hold work");
        await grain.ScaleAsync(0);
        SiloReport asked = await grain.ScaleAsync(2);
        Assert.All(asked.Slots.Take(2), slot => Assert.Equal("draining", slot.State));
        held.LetGo();
        await Until.Async(
            grain.ReportAsync, report => report.Slots.Count(slot => slot.State == "running") == 2, "two slots at work again", TimeSpan.FromMinutes(1));
        Assert.Equal("completed", (await cluster.EndOfAsync(held.Id)).State);
    }

    [Fact]
    public async Task A_watch_that_is_given_up_leaves_nothing_behind_though_its_job_stands_still()
    {
        using RunningJob held = await cluster.HoldAsync();
        string at = await cluster.HeadAsync();
        FarmHead head = cluster.Silos.Single(silo => silo.Id == at).Services.GetRequiredService<HeadHost>().Require();
        ToySilo other = await cluster.NotTheHeadAsync();
        var farm = new ClusterFarm(
            other.Services.GetRequiredService<IGrainFactory>(), head.Model, readsPictures: false, other.Services.GetRequiredService<IFarmBackbone>().Registry, other.Whereabouts, cluster.Data);
        using var stop = new CancellationTokenSource();
        Task cancelled = Task.Run(async () =>
        {
            await foreach (Farm.JobEvent happened in farm.WatchAsync(new JobReference(held.Id, Tenant: null), lastEventId: null, stop.Token))
            {
                Assert.Equal(JobState.Running, happened.Job.State);
            }
        });
        await Until.Async(() => Task.FromResult(head.CountWatchers(held.Id)), count => count == 1, "the watcher to come");
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled);
        await foreach (Farm.JobEvent _ in farm.WatchAsync(new JobReference(held.Id, Tenant: null), lastEventId: null, CancellationToken.None))
        {
            break; // as a consumer does that has seen enough
        }

        await Until.Async(() => Task.FromResult(head.CountWatchers(held.Id)), count => count == 0, "the watchers to go", TimeSpan.FromMinutes(1));
    }

    [Fact]
    public async Task What_a_tenants_grain_was_told_holds_for_its_next_submission_on_any_silo()
    {
        ToySilo other = await cluster.NotTheHeadAsync();
        Tenant set = await cluster.Silos[0].Client.SetTenantAsync(Cluster.Tenant, new TenantRequest { Weight = 2, MaxQueuedImages = 3 });
        Assert.Equal("set", set.Source);
        Assert.Equal(set, await other.Client.GetTenantAsync(Cluster.Tenant));
        Assert.Equal(3, (await other.Client.GetUsageAsync()).MaxQueuedImages);
        var refused = await Assert.ThrowsAsync<FarmApiException>(() => other.Client.CreateJobAsync(new JobRequest { Prompts = ["four"], ImagesPerPrompt = 4 }));
        Assert.Equal(400, refused.Status);
        Assert.Equal("keys", (await other.Client.ResetTenantAsync(Cluster.Tenant)).Source);
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
