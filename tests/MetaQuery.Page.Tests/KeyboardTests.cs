using MetaQuery.Silo.Tests.Doubles;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace MetaQuery.Page.Tests;

/// <summary>No pointer is used here.</summary>
public sealed class KeyboardTests(Chromium chromium) : PageTest(chromium)
{
    private const int MostTabs = 60;

    // What has the focus, as a screen reader would call it, and whether one can see that it has.
    private const string Focused = """
        () => {
          const element = document.activeElement;
          const style = getComputedStyle(element);
          const label = [...(element.labels ?? [])].map((each) => each.textContent.trim()).join(' ');
          const seen = parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== 'none' || element.matches('input[type=file]') && getComputedStyle(element.labels[0]).outlineStyle !== 'none';
          return [element.getAttribute('aria-label') || label || element.textContent.trim(), seen ? 'seen' : 'unseen', element.tagName];
        }
        """;

    [Fact]
    public async Task A_job_is_made_watched_looked_at_and_deleted_by_keys_alone()
    {
        FarmTestHost host = await ServeAsync(TimeSpan.FromMilliseconds(5));
        await GoAsync(host);
        await Expect(Heading("No jobs yet")).ToBeVisibleAsync();
        await TabToAsync("Prompts");
        await Page.Keyboard.TypeAsync("a cat");
        await Page.Keyboard.PressAsync("Enter");
        await Page.Keyboard.TypeAsync("a dog");
        await TabToAsync("Make pictures");
        await Page.Keyboard.PressAsync("Enter");
        await SeePicturesAsync(2);
        Assert.Equal("H1", (await FocusedAsync())[2]); // the focus came along

        await TabToAsync("Picture 1: a cat");
        await Page.Keyboard.PressAsync("ArrowRight");
        Assert.Equal("Picture 2: a dog", (await FocusedAsync())[0]);
        await Page.Keyboard.PressAsync("Enter");
        ILocator dialog = Page.GetByRole(AriaRole.Dialog, new() { Name = "Picture 2 of 2" });
        await Expect(dialog).ToBeVisibleAsync();
        for (int i = 0; i < 25; i++)
        {
            await Page.Keyboard.PressAsync("Tab");
            // A page's modal dialog may hand the focus to the browser's own bar: then it is on body, never behind the dialog.
            Assert.True(await Page.EvaluateAsync<bool>("() => document.activeElement === document.body || document.activeElement.closest('dialog') !== null"));
        }

        await Page.Keyboard.PressAsync("Escape");
        await Expect(dialog).ToHaveCountAsync(0);
        Assert.Equal("Picture 2: a dog", (await FocusedAsync())[0]);

        await Expect(Button("Delete")).ToBeVisibleAsync();
        await TabToAsync("Delete", back: true);
        await Page.Keyboard.PressAsync("Enter");
        await TabToAsync("Delete the job");
        await Page.Keyboard.PressAsync("Enter");
        await Expect(Heading("No jobs yet")).ToBeVisibleAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task The_order_of_Tab_is_that_of_reading_and_the_focus_is_always_seen(bool readsPictures)
    {
        FarmTestHost host = await ServeAsync(readsPictures: readsPictures);
        await GoAsync(host);
        await Expect(Heading("No jobs yet")).ToBeVisibleAsync();
        await Expect(Page.GetByText("Add pictures")).ToBeVisibleAsync(new() { Visible = readsPictures });
        var order = new List<string>();
        for (int i = 0; i < 19; i++)
        {
            await Page.Keyboard.PressAsync("Tab");
            string[] focused = await FocusedAsync();
            if (focused[2] == "BODY")
            {
                break;
            }

            Assert.True(focused[1] == "seen", $"the focus on {focused[0]} cannot be seen");
            order.Add(focused[0]);
        }

        Assert.Equal(
            [
                "Skip to the content", "MetaQuery.Farm", "Jobs", "Workers", "Enter an API key", "Switch to the dark theme", "Prompts", "Choose a file", .. readsPictures ? ["Add pictures"] : (string[])[],
                "Pictures per prompt", "Name (optional)", "Settings", "Make pictures", "All", "Active", "Finished", "Fill in three examples",
            ], order);
    }

    [Fact]
    public async Task The_skip_link_goes_to_the_content_and_keeps_the_place()
    {
        FarmTestHost host = await ServeAsync();
        await GoAsync(host, "#/workers");
        await Expect(Heading("Workers")).ToBeVisibleAsync();
        await Page.Keyboard.PressAsync("Tab");
        await Page.Keyboard.PressAsync("Enter");
        Assert.Equal("main", await Page.EvaluateAsync<string>("() => document.activeElement.id"));
        Assert.EndsWith("#/workers", Page.Url, StringComparison.Ordinal);
    }

    private Task<string[]> FocusedAsync() => Page.EvaluateAsync<string[]>(Focused);

    private async Task TabToAsync(string name, bool back = false)
    {
        for (int i = 0; i < MostTabs; i++)
        {
            await Page.Keyboard.PressAsync(back ? "Shift+Tab" : "Tab");
            if ((await FocusedAsync())[0] == name)
            {
                return;
            }
        }

        Assert.Fail($"{MostTabs} times Tab did not lead to {name}");
    }
}
