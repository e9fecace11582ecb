using System.Text.Json;
using System.Text.RegularExpressions;
using MetaQuery.Client;
using MetaQuery.Silo.Tests.Doubles;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace MetaQuery.Page.Tests;

public sealed class GalleryTests(Chromium chromium) : PageTest(chromium)
{
    [Fact]
    public async Task A_picture_opens_with_its_whole_provenance_and_the_place_survives_a_reload()
    {
        FarmTestHost host = await ServeAsync();
        Job job = await host.SubmitAsync(new JobRequest { Prompts = ["a red apple", "a cat"], ImagesPerPrompt = 2, NegativePrompt = "blur", Seed = ulong.MaxValue });
        await host.EndAsync(job.Id);
        SampleList samples = JsonSerializer.Deserialize(await host.Http.GetStringAsync($"/v1/jobs/{job.Id}/samples"), FarmJson.Default.SampleList)!;
        JsonElement facts = samples.Data[1].Metadata;
        Assert.Contains(samples.Data, sample => sample.Metadata.GetProperty("seed").GetUInt64() > 1UL << 53); // what JavaScript's numbers would round

        await GoAsync(host, $"#/jobs/{job.Id}");
        await Page.GetByRole(AriaRole.Link, new() { Name = "Picture 2: a red apple" }).ClickAsync();
        ILocator dialog = Page.GetByRole(AriaRole.Dialog, new() { Name = "Picture 2 of 4" });
        await Expect(dialog).ToBeVisibleAsync();
        foreach ((string name, string value) in ((string, string)[])
            [
                ("Prompt", "a red apple"), ("Negative prompt", "blur"), ("Seed", facts.GetProperty("seed").GetRawText()), ("Steps", "4"), ("Guidance", "4.5"), ("Size", "32 × 32"),
                ("Model", "toy"), ("Revision", "toy-1"), ("Sample key", facts.GetProperty("key").GetString()!), ("Prompt no.", "1"), ("Picture no.", "2"),
                ("SHA-256", facts.GetProperty("sha256").GetString()!),
            ])
        {
            await Expect(Fact(dialog, name)).ToHaveTextAsync(value);
        }

        await Page.ReloadAsync();
        await Expect(dialog).ToBeVisibleAsync();
        await Expect(Fact(dialog, "Seed")).ToHaveTextAsync(facts.GetProperty("seed").GetRawText());
    }

    [Fact]
    public async Task A_picture_made_of_pictures_says_of_which()
    {
        FarmTestHost host = await ServeAsync();
        byte[] input = [1, 2, 3];
        using var form = new MultipartFormDataContent
        {
            { new StringContent("{\"prompt\":\"make it red\",\"images\":[\"cat.png\"]}\n{\"prompt\":\"a dog\"}"), "prompts", "p.jsonl" }, { new ByteArrayContent(input), "cat.png" },
        };
        HttpResponseMessage answer = await host.Http.PostAsync("/v1/jobs", form);
        Job job = JsonSerializer.Deserialize(await answer.Content.ReadAsStringAsync(), FarmJson.Default.Job)!;
        await host.EndAsync(job.Id);
        await GoAsync(host, $"#/jobs/{job.Id}/samples/0");
        ILocator dialog = Page.GetByRole(AriaRole.Dialog);
        await Expect(Fact(dialog, "From picture")).ToHaveTextAsync(Convert.ToHexStringLower(System.Security.Cryptography.SHA256.HashData(input)));
        await Expect(Fact(dialog, "Image guidance")).ToHaveTextAsync("1.5");
        await Page.Keyboard.PressAsync("ArrowRight");
        await Expect(Fact(dialog, "Prompt")).ToHaveTextAsync("a dog");
        await Expect(Fact(dialog, "From picture")).ToHaveCountAsync(0);
    }

    [Fact]
    public async Task Arrows_go_to_the_neighbours_over_gaps_and_Escape_goes_back_to_the_cell()
    {
        FarmTestHost host = await ServeAsync();
        Job job = await host.SubmitAsync("a cat", "fail here", "a bird");
        await host.EndAsync(job.Id);
        await GoAsync(host, $"#/jobs/{job.Id}/samples/0");
        await Expect(Page.GetByRole(AriaRole.Dialog, new() { Name = "Picture 1 of 3" })).ToBeVisibleAsync();
        await Page.Keyboard.PressAsync("ArrowRight");
        await Expect(Page.GetByRole(AriaRole.Dialog, new() { Name = "Picture 3 of 3" })).ToBeVisibleAsync();
        await Expect(Page).ToHaveURLAsync(new Regex("samples/2"));
        await Page.Keyboard.PressAsync("ArrowRight");
        await Expect(Page.Locator("#polite")).ToHaveTextAsync("This is the last picture made so far");
        await Page.Keyboard.PressAsync("ArrowLeft");
        await Expect(Page.GetByRole(AriaRole.Dialog, new() { Name = "Picture 1 of 3" })).ToBeVisibleAsync();
        await Page.Keyboard.PressAsync("ArrowRight");
        await Expect(Page.GetByRole(AriaRole.Dialog, new() { Name = "Picture 3 of 3" })).ToBeVisibleAsync();
        await Page.Keyboard.PressAsync("Escape");
        await Expect(Page.GetByRole(AriaRole.Dialog)).ToHaveCountAsync(0);
        await Expect(Page.GetByRole(AriaRole.Link, new() { Name = "Picture 3: a bird" })).ToBeFocusedAsync();
        await Expect(Page).Not.ToHaveURLAsync(new Regex("samples"));

        await GoAsync(host, $"#/jobs/{job.Id}/samples/0");
        await Expect(Page.GetByRole(AriaRole.Dialog, new() { Name = "Picture 1 of 3" })).ToBeVisibleAsync();
        await Page.EvaluateAsync("(place) => { location.hash = place; }", $"#/jobs/{job.Id}/failures"); // as a link in another window or the way back would
        await Expect(Page.Locator("td.prompt")).ToHaveTextAsync("fail here");
        await Expect(Page.GetByRole(AriaRole.Dialog)).ToHaveCountAsync(0);
        await Expect(Page).ToHaveURLAsync(new Regex("/failures$"));
    }

    [Fact]
    public async Task What_is_copied_and_downloaded_is_what_the_farm_wrote()
    {
        FarmTestHost host = await ServeAsync();
        Job job = await host.SubmitAsync("a cat");
        await host.EndAsync(job.Id);
        byte[] image = await host.Http.GetByteArrayAsync($"/v1/jobs/{job.Id}/samples/0/image");
        SampleList samples = JsonSerializer.Deserialize(await host.Http.GetStringAsync($"/v1/jobs/{job.Id}/samples"), FarmJson.Default.SampleList)!;
        await Page.Context.GrantPermissionsAsync(["clipboard-read", "clipboard-write"]);
        await GoAsync(host, $"#/jobs/{job.Id}/samples/0");
        await Button("Copy as JSON").ClickAsync();
        await Expect(Page.Locator("#polite")).ToHaveTextAsync("Copied");
        string copied = await Page.EvaluateAsync<string>("() => navigator.clipboard.readText()");
        using JsonDocument document = JsonDocument.Parse(copied);
        Assert.True(JsonElement.DeepEquals(samples.Data[0].Metadata, document.RootElement), copied);
        await Button("Copy seed").ClickAsync();
        await Page.WaitForFunctionAsync($"async () => await navigator.clipboard.readText() === '{samples.Data[0].Metadata.GetProperty("seed").GetRawText()}'");

        IDownload picture = await Page.RunAndWaitForDownloadAsync(() => Button("Download").ClickAsync());
        Assert.Equal("000000000.png", picture.SuggestedFilename);
        Assert.Equal(image, await File.ReadAllBytesAsync(await picture.PathAsync()));

        await Page.Keyboard.PressAsync("Escape");
        await Link("Files").ClickAsync();
        IDownload shard = await Page.RunAndWaitForDownloadAsync(() => Page.GetByRole(AriaRole.Link, new() { Name = "00000.tar" }).ClickAsync());
        Assert.Equal(await host.Http.GetByteArrayAsync($"/v1/jobs/{job.Id}/files/00000.tar"), await File.ReadAllBytesAsync(await shard.PathAsync()));
    }

    [Fact]
    public async Task Thousands_of_pictures_keep_the_page_small_and_following_turns_it()
    {
        FarmTestHost host = await ServeAsync(TimeSpan.FromMilliseconds(1));
        Job job = await host.SubmitAsync(new JobRequest { Prompts = ["a cat", "a dog", "a bird"], ImagesPerPrompt = 10_000 });
        await GoAsync(host, $"#/jobs/{job.Id}");
        await Expect(Page.GetByLabel("Follow new pictures")).ToBeCheckedAsync();
        await Expect(Page.Locator(".where")).ToHaveTextAsync(new Regex("^(?!1–)[\\d,]+–[\\d,]+ of 30,000 pictures$")); // turned by itself
        await host.CommandAsync(job.Id, "pause");
        await Page.GetByLabel("Page", new() { Exact = true }).FillAsync("250");
        await Page.GetByLabel("Page", new() { Exact = true }).PressAsync("Enter");
        await Expect(Page.Locator(".where")).ToHaveTextAsync("29,881–30,000 of 30,000 pictures");
        await Expect(Page).ToHaveURLAsync(new Regex("page=250"));
        await Page.GetByLabel("Page", new() { Exact = true }).FillAsync("1");
        await Page.GetByLabel("Page", new() { Exact = true }).PressAsync("Enter");
        await SeePicturesAsync(120);
        await Button("Next page").ClickAsync();
        await Expect(Page.Locator(".where")).ToHaveTextAsync("121–240 of 30,000 pictures");
        await Expect(Page.GetByLabel("Follow new pictures")).Not.ToBeCheckedAsync();
        await host.CommandAsync(job.Id, "resume");
        await SeePicturesAsync(120);
        Assert.Equal(120, await Page.Locator(".gallery li").CountAsync());
        Assert.InRange(await Page.EvaluateAsync<int>("() => document.querySelectorAll('*').length"), 1, 1500);
        await Page.GetByLabel("Per page").SelectOptionAsync("60");
        await Expect(Page.Locator(".gallery li")).ToHaveCountAsync(60);
    }

    [Fact]
    public async Task Hostile_prompts_stay_text_everywhere()
    {
        FarmTestHost host = await ServeAsync();
        string[] prompts =
        [
            "<img src=x onerror=\"window.hacked=1\">", "\"><script>window.hacked=1</script>", "javascript:window.hacked=1", "</textarea><svg onload=window.hacked=1>",
            "{{constructor.constructor('window.hacked=1')()}}", "a\u202Etxt.exe \u0007 \uD83D\uDE00", "fail <iframe srcdoc='<script>parent.hacked=1</script>'>",
        ];
        Job job = await host.SubmitAsync(new JobRequest { Prompts = prompts, Name = "<u onmouseover=window.hacked=1>name</u>", NegativePrompt = "<marquee>" });
        await host.EndAsync(job.Id);
        await GoAsync(host);
        await Expect(Link("<u onmouseover=window.hacked=1>name</u>")).ToBeVisibleAsync();
        await Link("<u onmouseover=window.hacked=1>name</u>").ClickAsync();
        await SeePicturesAsync(6);
        Assert.Equal(prompts.Take(6), await Page.Locator(".gallery [data-state=made] .caption").AllTextContentsAsync());
        await Page.Locator(".gallery a").Nth(1).ClickAsync();
        await Expect(Fact(Page.GetByRole(AriaRole.Dialog), "Prompt")).ToHaveTextAsync(prompts[1]);
        await Expect(Fact(Page.GetByRole(AriaRole.Dialog), "Negative prompt")).ToHaveTextAsync("<marquee>");
        await Page.Keyboard.PressAsync("Escape");
        await Page.Locator(".sections").GetByText("Failures").ClickAsync();
        await Expect(Page.Locator("td.prompt")).ToHaveTextAsync(prompts[6]);
        await Page.Locator(".sections").GetByText("Details").ClickAsync();
        await Expect(Page.Locator(".details")).ToContainTextAsync("<marquee>");
        Assert.False(await Page.EvaluateAsync<bool>("() => 'hacked' in window || document.querySelector('main u, main script, main iframe, main svg[onload], main marquee, main [onerror]') !== null"));
    }

    private static ILocator Fact(ILocator dialog, string name) =>
        dialog.Locator(".fact").Filter(new() { Has = dialog.Page.Locator("dt").Filter(new() { HasTextRegex = new Regex($"^{Regex.Escape(name)}$") }) }).Locator("dd > span");
}
