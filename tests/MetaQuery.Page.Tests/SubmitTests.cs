using MetaQuery.Client;
using MetaQuery.Silo.Tests.Doubles;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace MetaQuery.Page.Tests;

public sealed class SubmitTests(Chromium chromium) : PageTest(chromium)
{
    [Fact]
    public async Task Prompts_become_a_job_whose_gallery_fills_while_it_is_watched()
    {
        FarmTestHost host = await ServeAsync(TimeSpan.FromMilliseconds(100));
        await GoAsync(host);
        await Page.GetByLabel("Prompts", new() { Exact = true }).FillAsync("a red apple\n\n  a sleeping cat  \na blue boat");
        await Page.GetByLabel("Pictures per prompt").FillAsync("4");
        await Expect(Page.GetByText("3 prompts, 12 pictures")).ToBeVisibleAsync();
        await Button("Make pictures").ClickAsync();

        await Expect(Page).ToHaveURLAsync(new System.Text.RegularExpressions.Regex("#/jobs/"));
        string id = Page.Url.Split('/')[^1];
        await host.CommandAsync(id, "pause");
        await Expect(Page.Locator(".job-head .state")).ToHaveTextAsync("Paused");
        await Expect(Page.Locator(".gallery .cell")).ToHaveCountAsync(12); // places are there before their pictures
        await Expect(Page.Locator(".gallery .cell[data-state=waiting]")).Not.ToHaveCountAsync(0);
        await host.CommandAsync(id, "resume");
        await SeePicturesAsync(12);
        await Expect(Page.Locator(".job-head .state")).ToHaveTextAsync("Completed");
        await Expect(Page.GetByRole(AriaRole.Progressbar)).ToHaveAttributeAsync("aria-valuetext", "12 of 12 pictures written");
        await Expect(Page.Locator(".gallery .caption").Nth(4)).ToHaveTextAsync("a sleeping cat");
        Job job = await host.GetAsync(id);
        Assert.Equal(3, job.Counts.Prompts);
    }

    [Fact]
    public async Task Settings_reach_the_farm_to_the_last_digit_of_the_seed()
    {
        FarmTestHost host = await ServeAsync();
        await GoAsync(host);
        await Page.GetByLabel("Prompts", new() { Exact = true }).FillAsync("a \"quoted\" <b>prompt</b>");
        await Page.GetByLabel("Name (optional)").FillAsync("nightly");
        await Page.GetByText("Settings", new() { Exact = true }).ClickAsync();
        await Page.GetByLabel("Size", new() { Exact = true }).FillAsync("64x32");
        await Page.GetByLabel("Steps").FillAsync("7");
        await Page.GetByLabel("Guidance", new() { Exact = true }).FillAsync("2.5");
        await Page.GetByLabel("Seed").FillAsync("18446744073709551615");
        await Page.GetByLabel("Negative prompt").FillAsync("blur");
        await Page.GetByLabel("Format").SelectOptionAsync("jpg");
        await Page.GetByLabel("Quality").FillAsync("80");
        await Page.GetByLabel("Priority").SelectOptionAsync("interactive");
        await Page.GetByLabel("Pictures per shard").FillAsync("50");
        await Button("Make pictures").ClickAsync();

        await Expect(Heading("nightly")).ToBeVisibleAsync();
        Job job = await host.GetAsync(Page.Url.Split('/')[^1]);
        Assert.Equal(new JobSettings("64x32", 7, 2.5f, "blur", ulong.MaxValue, 1, 50, "jpg", 80, 4), job.Settings);
        Assert.Equal(("nightly", "interactive"), (job.Name, job.Priority));
    }

    [Fact]
    public async Task A_file_is_chosen_or_dropped_and_its_bad_lines_are_named()
    {
        FarmTestHost host = await ServeAsync();
        await GoAsync(host);
        await Page.GetByLabel("Choose a file").SetInputFilesAsync(new FilePayload { Name = "p.jsonl", MimeType = "application/jsonl", Buffer = "{\"prompt\":\"a cat\"}\n{\"prompt\":\"\"}\n"u8.ToArray() });
        await Expect(Page.Locator(".file-chip")).ToContainTextAsync("p.jsonl");
        await Expect(Page.Locator(".file-chip pre")).ToContainTextAsync("{\"prompt\":\"a cat\"}");
        await Button("Make pictures").ClickAsync();
        await Expect(Page.GetByRole(AriaRole.Alert).Filter(new() { HasText = "line 2" })).ToBeVisibleAsync();

        await Page.GetByLabel("Skip bad lines").CheckAsync();
        await Button("Make pictures").ClickAsync();
        await Expect(Page.Locator(".gallery .cell")).ToHaveCountAsync(1);
        await Link("Details").ClickAsync();
        await Expect(Page.Locator(".skipped li")).ToHaveCountAsync(1);

        await Page.GetByRole(AriaRole.Navigation, new() { Name = "Main" }).GetByText("Jobs").ClickAsync();
        await DropAsync("picture.png", "x");
        await Expect(Page.GetByRole(AriaRole.Alert).Filter(new() { HasText = "this was picture.png" })).ToBeVisibleAsync();
        await DropAsync("dropped.txt", "a dog\na bird\n");
        await Expect(Page.Locator(".file-chip")).ToContainTextAsync("dropped.txt");
        await Button("Make pictures").ClickAsync();
        await SeePicturesAsync(2);
    }

    [Fact]
    public async Task Pictures_are_dropped_and_go_under_their_own_names_with_a_file_that_names_them()
    {
        FarmTestHost host = await ServeAsync(readsPictures: true);
        await GoAsync(host);
        await Expect(Page.GetByText("Add pictures")).ToBeVisibleAsync();
        await DropAsync("große Katze.png", "one");
        await DropAsync("dog.webp", "two");
        await Expect(Page.Locator(".chosen li")).ToHaveCountAsync(2);
        await DropAsync("large.png", "", bytes: (32 << 20) + 1);
        await Expect(Page.GetByRole(AriaRole.Alert).Filter(new() { HasText = "large.png has" })).ToContainTextAsync("a picture may have");
        await Page.GetByLabel("Add pictures").SetInputFilesAsync(new FilePayload { Name = "cat.gif", MimeType = "image/gif", Buffer = [1] });
        await Expect(Page.GetByRole(AriaRole.Alert).Filter(new() { HasText = "cat.gif is no picture" })).ToBeVisibleAsync();
        await Expect(Page.Locator(".chosen li")).ToHaveCountAsync(2);

        await DropAsync("p.jsonl", """{"prompt":"make it red","images":["große Katze.png","dog.webp"]}""");
        await Expect(Page.Locator(".file-chip")).ToContainTextAsync("p.jsonl");
        await Button("Make pictures").ClickAsync();
        await SeePicturesAsync(1);
        using var client = new FarmClient(host.Url);
        Assert.Equal(2, (await client.GetSampleAsync(Page.Url.Split('/')[^1], 0)).Metadata.GetProperty("images").GetArrayLength()); // both were found under the names of the line
    }

    [Fact]
    public async Task What_is_wrong_is_said_beside_its_field_and_the_prompts_stay()
    {
        FarmTestHost host = await ServeAsync();
        await GoAsync(host);
        await Button("Make pictures").ClickAsync();
        ILocator prompts = Page.GetByLabel("Prompts", new() { Exact = true });
        await Expect(prompts).ToBeFocusedAsync();
        await Expect(prompts).ToHaveAccessibleDescriptionAsync(new System.Text.RegularExpressions.Regex("^Write a prompt, or choose a file of prompts\\."));

        await prompts.FillAsync("a cat");
        await Page.GetByText("Settings", new() { Exact = true }).ClickAsync();
        ILocator size = Page.GetByLabel("Size", new() { Exact = true });
        await size.FillAsync("60x60"); // the page cannot know that the model makes multiples of 8; the farm says so
        await Button("Make pictures").ClickAsync();
        await Expect(size).ToBeFocusedAsync();
        await Expect(size).ToHaveAttributeAsync("aria-invalid", "true");
        await Expect(Page.Locator(".field-error")).ToContainTextAsync("multiples of 8 from 8 to 64");
        await Page.ReloadAsync();
        await Expect(prompts).ToHaveValueAsync("a cat"); // nothing typed is lost
        await Expect(size).ToHaveValueAsync("60x60");
    }

    [Fact]
    public async Task A_newcomer_is_told_what_to_do()
    {
        FarmTestHost host = await ServeAsync(TimeSpan.FromMilliseconds(1));
        await GoAsync(host);
        await Expect(Heading("No jobs yet")).ToBeVisibleAsync();
        await Button("Fill in three examples").ClickAsync();
        await Expect(Page.GetByText("3 prompts, 3 pictures")).ToBeVisibleAsync();
        await Page.Keyboard.PressAsync("Control+Enter");
        await SeePicturesAsync(3);
        await Link("Failures").ClickAsync();
        await Expect(Heading("No failures")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Many_pasted_prompts_go_as_a_file_and_settings_are_used_again()
    {
        FarmTestHost host = await ServeAsync(Never);
        Job first = await host.SubmitAsync(new JobRequest { Prompts = ["a cat"], Steps = 9, Seed = ulong.MaxValue, Format = "webp", Quality = 70, Priority = "interactive", ImagesPerPrompt = 2 });
        await GoAsync(host, $"#/jobs/{first.Id}/details");
        await Button("Use these settings for a new job").ClickAsync();
        await Expect(Page.GetByLabel("Steps")).ToHaveValueAsync("9");
        // Typed letter by letter, as FillAsync has the browser do it, so many lines would take half a minute.
        await Page.GetByLabel("Prompts", new() { Exact = true }).EvaluateAsync("(field) => { field.value = [...Array(5001).keys()].map((i) => `prompt ${i}`).join('\\n'); field.dispatchEvent(new Event('input')); }");
        await Expect(Page.GetByText("5,001 prompts, 10,002 pictures")).ToBeVisibleAsync();
        IRequest request = await Page.RunAndWaitForRequestAsync(() => Button("Make pictures").ClickAsync(), request => request.Method == "POST");
        Assert.StartsWith("multipart/form-data", await request.HeaderValueAsync("content-type"), StringComparison.Ordinal);
        await Expect(Page.Locator(".where")).ToHaveTextAsync("1–120 of 10,002 pictures");
        Job second = await host.GetAsync(Page.Url.Split('/')[^1]);
        Assert.Equal(first.Settings, second.Settings);
        Assert.Equal(("interactive", 5001), (second.Priority, second.Counts.Prompts));
    }

    private async Task DropAsync(string name, string text, int bytes = 0)
    {
        IJSHandle data = await Page.EvaluateHandleAsync(
            "([name, text, bytes]) => { const data = new DataTransfer(); data.items.add(new File([text, new Uint8Array(bytes)], name)); return data; }", new object[] { name, text, bytes });
        foreach (string type in (string[])["dragenter", "dragover", "drop"])
        {
            await Page.Locator(".drop").DispatchEventAsync(type, new Dictionary<string, object> { ["dataTransfer"] = data });
        }
    }
}
