using System.Reflection;
using MetaQuery.Client;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.TestKit;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace MetaQuery.Page.Tests;

public sealed class AccessibilityTests(Chromium chromium) : PageTest(chromium)
{
    [Theory]
    [InlineData(ColorScheme.Light)]
    [InlineData(ColorScheme.Dark)]
    public async Task Everything_has_a_name_enough_contrast_and_fits_a_narrow_screen(ColorScheme scheme)
    {
        (FarmTestHost host, string job) = await FullFarmAsync();
        await Page.EmulateMediaAsync(new() { ColorScheme = scheme });
        foreach ((string place, string wait) in ((string, string)[])
            [
                ("#/", ".jobs tbody tr"), ($"#/jobs/{job}", ".cell[data-state=failed]"), ($"#/jobs/{job}/samples/0", "dialog .fact"), ($"#/jobs/{job}/failures", "td.prompt"),
                ($"#/jobs/{job}/files", ".files td"), ($"#/jobs/{job}/details", ".details dd"), ("#/workers", ".worker .slots li"), ("#/jobs/job_0", ".empty h2"),
            ])
        {
            await GoAsync(host, "#/nowhere");
            await GoAsync(host, place);
            await Expect(Page.Locator(wait).First).ToBeVisibleAsync();
            if (place == "#/")
            {
                await Page.Locator(".settings summary").ClickAsync();
                await Button("Make pictures").ClickAsync(); // an empty form: its message is looked at, too
                await Page.GetByLabel("Add pictures").SetInputFilesAsync([TinyMetaQuery.Picture("00_rgb_61x43.png"), TinyMetaQuery.Picture("06_jpegexif_48x30.jpg")]);
                await Expect(Page.Locator(".chosen li")).ToHaveCountAsync(2);
            }

            await CheckAsync(place);
        }

        await GoAsync(host);
        await Button("API key").Or(Button("Enter an API key")).ClickAsync();
        await CheckAsync("key dialog");
        await Page.Keyboard.PressAsync("Escape");
        await Page.GetByRole(AriaRole.Button, new() { Name = "Delete done", Exact = true }).ClickAsync();
        await CheckAsync("question");
    }

    [Fact]
    public async Task The_theme_follows_the_system_until_it_is_chosen()
    {
        FarmTestHost host = await ServeAsync();
        await Page.EmulateMediaAsync(new() { ColorScheme = ColorScheme.Dark });
        await GoAsync(host);
        Assert.InRange(await BrightnessAsync(), 0, 60);
        await Button("Switch to the light theme").ClickAsync();
        Assert.InRange(await BrightnessAsync(), 200, 255);
        await Page.ReloadAsync();
        await Expect(Button("Switch to the dark theme")).ToBeVisibleAsync();
        Assert.InRange(await BrightnessAsync(), 200, 255);
        await Button("Switch to the dark theme").ClickAsync(); // what the system says: followed again
        await Page.EmulateMediaAsync(new() { ColorScheme = ColorScheme.Light });
        await Expect(Button("Switch to the dark theme")).ToBeVisibleAsync();
        Assert.InRange(await BrightnessAsync(), 200, 255);
    }

    [Fact]
    public async Task Motion_is_left_out_where_it_is_not_wanted()
    {
        (FarmTestHost host, string job) = await FullFarmAsync();
        await GoAsync(host, $"#/jobs/{job}");
        await Expect(Pictures).Not.ToHaveCountAsync(0);
        const string Moving = "() => [...document.querySelectorAll('*')].filter((element) => { const style = getComputedStyle(element); return style.animationName !== 'none' || style.transitionDuration !== '0s'; }).length";
        Assert.Equal(0, await Page.EvaluateAsync<int>(Moving));
        await Page.EmulateMediaAsync(new() { ReducedMotion = ReducedMotion.NoPreference });
        Assert.NotEqual(0, await Page.EvaluateAsync<int>(Moving)); // so the count above counts
    }

    [Fact]
    public async Task Progress_is_told_politely_and_not_by_colour_alone()
    {
        FarmTestHost host = await ServeAsync(TimeSpan.FromMilliseconds(150));
        Job job = await host.SubmitAsync("a cat", "a dog", "fail", "a bird");
        await host.CommandAsync(job.Id, "pause");
        await GoAsync(host, $"#/jobs/{job.Id}");
        await Expect(Page.Locator(".job-head .state")).ToHaveTextAsync("Paused");
        await host.CommandAsync(job.Id, "resume");
        await Expect(Page.Locator("#polite")).ToHaveTextAsync("Completed with errors: 3 of 4 pictures written, 1 failed");
        await Expect(Page.GetByRole(AriaRole.Progressbar)).ToHaveAttributeAsync("aria-valuenow", "4");
        await Expect(Page.Locator(".legend")).ToHaveTextAsync("written3denoised0encoded0waiting0failed1");
        string[] patterns = await Page.EvaluateAsync<string[]>("() => [...document.querySelectorAll('.legend .swatch')].map((swatch) => getComputedStyle(swatch).backgroundImage.replace(/[^a-z-]*\\(.*/, '') + getComputedStyle(swatch).backgroundImage.match(/\\d+deg/))");
        Assert.Equal(5, patterns.Length);
        Assert.Equal(3, patterns.Where(pattern => pattern.StartsWith("repeating", StringComparison.Ordinal)).Distinct().Count()); // three stripes of their own; plain full and plain empty
    }

    private async Task<(FarmTestHost Host, string Job)> FullFarmAsync()
    {
        FarmTestHost host = await ServeAsync(TimeSpan.FromMilliseconds(1), readsPictures: true);
        Job job = await host.SubmitAsync(new JobRequest { Prompts = ["a cat", "fail", "a bird"], Name = "done" });
        await host.EndAsync(job.Id);
        Job paused = await host.SubmitAsync(new JobRequest { Prompts = ["a cat"], ImagesPerPrompt = 5000, Name = "long" });
        await host.CommandAsync(paused.Id, "pause");
        return (host, job.Id);
    }

    private async Task CheckAsync(string place)
    {
        string[] names = await Page.EvaluateAsync<string[]>(Script("names.js"));
        Assert.True(names.Length == 0, $"{place}: {string.Join('\n', names)}");
        Contrast contrast = await Page.EvaluateAsync<Contrast>(Script("contrast.js"));
        Assert.True(contrast.Wrong.Length == 0, $"{place}: {string.Join('\n', contrast.Wrong)}");
        Assert.InRange(contrast.Looked, 5, int.MaxValue);
        await Page.SetViewportSizeAsync(360, 740);
        int wide = await Page.EvaluateAsync<int>("() => Math.max(document.documentElement.scrollWidth, document.querySelector('dialog[open]')?.scrollWidth ?? 0)");
        await Page.SetViewportSizeAsync(1280, 800);
        Assert.True(wide <= 360, $"{place}: {wide} pixels wide on a screen of 360");
    }

    private async Task<int> BrightnessAsync() => await Page.EvaluateAsync<int>("() => Math.max(...getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number))");

    private static string Script(string name)
    {
        using var reader = new StreamReader(Assembly.GetExecutingAssembly().GetManifestResourceStream(name)!);
        string text = reader.ReadToEnd();
        return text[text.IndexOf("() =>", StringComparison.Ordinal)..];
    }

    private sealed class Contrast
    {
        public string[] Wrong { get; set; } = [];
        public int Looked { get; set; }
    }
}
