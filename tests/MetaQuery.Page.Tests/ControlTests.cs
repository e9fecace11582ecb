using System.Text.Json;
using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Silo.Tests.Doubles;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;
using Job = MetaQuery.Client.Job;
using JobCounts = MetaQuery.Client.JobCounts;

namespace MetaQuery.Page.Tests;

public sealed class ControlTests(Chromium chromium) : PageTest(chromium)
{
    private static readonly (JobCommand Command, string Label)[] Labels =
        [(JobCommand.Pause, "Pause"), (JobCommand.Resume, "Resume"), (JobCommand.RetryFailed, "Retry failed"), (JobCommand.Cancel, "Cancel"), (JobCommand.Delete, "Delete")];

    [Fact]
    public async Task A_job_is_paused_resumed_cancelled_and_deleted_and_what_destroys_asks_first()
    {
        FarmTestHost host = await ServeAsync(Never);
        Job job = await host.SubmitAsync(new JobRequest { Prompts = ["a cat"], Name = "victim" });
        await GoAsync(host, $"#/jobs/{job.Id}");
        await Button("Pause").ClickAsync();
        await Expect(State).ToHaveTextAsync("Paused");
        await Button("Resume").ClickAsync();
        await Expect(State).ToHaveTextAsync("Running");

        await Button("Cancel").ClickAsync();
        ILocator question = Page.GetByRole(AriaRole.Alertdialog, new() { Name = "Cancel “victim”?" });
        await Expect(question).ToHaveAccessibleDescriptionAsync("0 pictures already written stay. The other 1 will not be made, and the job cannot be resumed.");
        await Expect(Button("Go back")).ToBeFocusedAsync(); // Enter by mistake destroys nothing
        await Page.Keyboard.PressAsync("Escape");
        await Expect(question).ToHaveCountAsync(0);
        await Expect(Button("Cancel")).ToBeFocusedAsync();
        Assert.Equal("running", (await host.GetAsync(job.Id)).State);

        await Button("Cancel").ClickAsync();
        await Button("Cancel the job").ClickAsync();
        await Expect(State).ToHaveTextAsync("Cancelled");
        Assert.Equal("cancelled", (await host.GetAsync(job.Id)).State);
        await Expect(Page.Locator(".reason")).ToHaveTextAsync("cancelled by its tenant");

        await Button("Delete").ClickAsync();
        await Button("Delete the job").ClickAsync();
        await Expect(Heading("No jobs yet")).ToBeVisibleAsync();
        await GoAsync(host, $"#/jobs/{job.Id}");
        await Expect(Heading("There is no such job")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Failures_are_listed_with_their_reasons_and_tried_again()
    {
        FarmTestHost host = await ServeAsync();
        Job job = await host.SubmitAsync("a cat", "fail one", "fail two");
        await host.EndAsync(job.Id);
        await GoAsync(host, $"#/jobs/{job.Id}");
        await Expect(State).ToHaveTextAsync("Completed with errors");
        await Expect(Page.Locator(".legend [data-part=failed] dd")).ToHaveTextAsync("2");
        await Page.GetByRole(AriaRole.Link, new() { Name = "Picture 2 failed: the toy denoiser does not like this prompt" }).ClickAsync();
        await Expect(Heading("the toy denoiser does not like this prompt")).ToBeVisibleAsync();
        await Expect(Page.Locator("td.prompt")).ToHaveTextAsync(["fail one", "fail two"]);
        await Button("Retry failed").ClickAsync();
        await Expect(State).ToHaveTextAsync("Completed");
        await Expect(Heading("No failures")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task The_buttons_are_those_of_the_farms_table_of_states()
    {
        FarmTestHost host = await ServeAsync();
        JobState[] states = Enum.GetValues<JobState>();
        JobList list = new("list", [.. states.Select(Pretend)], null);
        await Page.RouteAsync("**/v1/jobs?*", route => route.FulfillAsync(new() { ContentType = "application/json", Body = JsonSerializer.Serialize(list, FarmJson.Default.JobList) }));
        await GoAsync(host);
        await Expect(Page.Locator(".jobs tbody tr")).ToHaveCountAsync(states.Length);
        foreach (JobState state in states)
        {
            string name = JobLifecycle.NameOf(state);
            ILocator row = Page.Locator(".jobs tbody tr").Filter(new() { Has = Page.GetByRole(AriaRole.Link, new() { Name = name, Exact = true }) });
            string[] expected = [.. Labels.Where(label => JobLifecycle.Allows(state, label.Command) && JobLifecycle.After(state, label.Command) != state).Select(label => $"{label.Label} {name}")];
            IReadOnlyList<ILocator> buttons = await row.GetByRole(AriaRole.Button).AllAsync();
            Assert.Equal(expected.Order(StringComparer.Ordinal), (await Task.WhenAll(buttons.Select(button => button.GetAttributeAsync("aria-label")))).Order(StringComparer.Ordinal));
        }
    }

    [Fact]
    public async Task A_refusal_is_shown_in_the_farms_own_words()
    {
        FarmTestHost host = await ServeAsync(Never);
        Job job = await host.SubmitAsync("a cat");
        await GoAsync(host, $"#/jobs/{job.Id}");
        await Expect(State).ToHaveTextAsync("Running");
        await Page.RouteAsync("**/pause", route => route.FulfillAsync(new() { Status = 409, ContentType = "application/json", Body = """{"error":{"message":"to pause is not possible: every image is settled","type":"x","param":null,"code":"job_state"}}""" }));
        await Button("Pause").ClickAsync();
        await Expect(Page.GetByRole(AriaRole.Alert).Filter(new() { HasText = "to pause is not possible: every image is settled" })).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Workers_show_slots_rates_and_work_and_are_drained()
    {
        FarmTestHost host = await ServeAsync(Never);
        Job job = await host.SubmitAsync(new JobRequest { Prompts = ["a cat"], Name = "nightly" });
        await GoAsync(host, "#/workers");
        ILocator worker = Page.Locator(".worker").First;
        await Expect(worker.GetByRole(AriaRole.Heading)).ToHaveTextAsync("worker-a");
        await Expect(worker).ToContainTextAsync("mllm + dit · cpu · lane 1f0c5d2ab3e49876");
        await Expect(worker.Locator(".slots li").First).ToContainTextAsync("makes 4 pictures");
        await Expect(worker.Locator(".slots li").Last).ToContainTextAsync("idle");
        await Expect(worker.Locator(".busy dd")).ToHaveTextAsync("50 %");
        await Expect(worker.GetByRole(AriaRole.Link, new() { Name = "nightly" })).ToHaveAttributeAsync("href", $"#/jobs/{job.Id}");
        await Expect(Page.Locator(".about").First).ToHaveTextAsync("2 workers, 2 of 4 slots at work, 25.0 pictures/s");
        await Expect(Page.Locator(".counters")).ToContainTextAsync("Memory hits60");
        await Expect(Page.Locator(".counters")).ToContainTextAsync("Passes made again1");
        await Button("Drain worker-a").ClickAsync();
        await Expect(Page.GetByRole(AriaRole.Alertdialog, new() { Name = "Drain worker-a?" })).ToBeVisibleAsync();
        await Button("Drain the worker").ClickAsync();
        await Expect(worker.Locator(".state")).ToHaveTextAsync("Draining");
        await Expect(Button("Drain worker-a")).ToHaveCountAsync(0);
    }

    [Fact]
    public async Task The_queue_pages_and_filters()
    {
        FarmTestHost host = await ServeAsync();
        for (int i = 0; i < 27; i++)
        {
            await host.SubmitAsync(new JobRequest { Prompts = ["a cat"], Name = $"number {i}" });
        }

        await GoAsync(host);
        ILocator rows = Page.Locator(".jobs tbody tr");
        await Expect(rows).ToHaveCountAsync(25);
        await Button("Older").ClickAsync();
        await Expect(rows).ToHaveCountAsync(2);
        await Expect(rows.Last).ToContainTextAsync("number 0");
        await Button("Newer").ClickAsync();
        await Expect(rows).ToHaveCountAsync(25);
        await Link("Active").ClickAsync();
        await Expect(Heading("No such jobs")).ToBeVisibleAsync();
        await Page.ReloadAsync();
        await Expect(Heading("No such jobs")).ToBeVisibleAsync();
        await Link("Finished").ClickAsync();
        await Expect(rows).ToHaveCountAsync(25);
    }

    private ILocator State => Page.Locator(".job-head .state");

    private static Job Pretend(JobState state)
    {
        string name = JobLifecycle.NameOf(state);
        var settings = new JobSettings("32x32", 4, 4.5f, "", 0, 1, 10_000, "png", 100, 4);
        return new Job("job_" + name, "job", name, "local", "bulk", name, null, new JobCounts(10, 10, 10, 8, 6, 4, 1), 0, null, settings, [], null, DateTimeOffset.UtcNow, null, null, null);
    }
}
