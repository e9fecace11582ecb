using MetaQuery.Silo.Tests.Doubles;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace MetaQuery.Page.Tests;

/// <summary>A cluster's silos on the page, for its admin.</summary>
public sealed class SiloTests(Chromium chromium) : PageTest(chromium)
{
    private ILocator Silos => Page.Locator(".silo");

    private async Task<FarmTestHost> ServeClusterAsync()
    {
        var farm = new FakeCluster(Never);
        FarmTestHost host = await FarmTestHost.StartAsync(farm, owned: farm);
        Own(host);
        return host;
    }

    [Fact]
    public async Task Silos_show_roles_slots_activations_and_load_and_which_holds_the_head()
    {
        await GoAsync(await ServeClusterAsync(), "#/workers");
        await Expect(Silos).ToHaveCountAsync(3);
        await Expect(Page.Locator(".silos .about").First).ToHaveTextAsync("3 silos, 5 of 5 slots running, 20 grains active");
        ILocator first = Silos.First;
        await Expect(first.GetByRole(AriaRole.Heading)).ToHaveTextAsync("10.0.0.1:11111@120000001");
        await Expect(first.Locator(".state").Nth(1)).ToHaveTextAsync("Head");
        await Expect(first).ToContainTextAsync("head + mllm + dit");
        await Expect(first).ToContainTextAsync("DitGrain 2 · JobGrain 12 · SiloGrain 1");
        await Expect(first).ToContainTextAsync("Processors25 %");
        await Expect(first.Locator(".slots li").First).ToContainTextAsync("makes pictures75 % busy");
        await Expect(Silos.Nth(1).Locator(".state").Nth(1)).ToBeHiddenAsync();
        if (Environment.GetEnvironmentVariable("METAQUERY_SCREENSHOTS") is { Length: > 0 } folder)
        {
            await Page.ScreenshotAsync(new() { Path = Path.Combine(folder, "silos.png"), FullPage = true });
        }
    }

    [Fact]
    public async Task A_silo_is_scaled_and_drained_after_a_question()
    {
        await GoAsync(await ServeClusterAsync(), "#/workers");
        await Button("One slot more on 10.0.0.3:11111@120000003").ClickAsync();
        await Expect(Silos.Nth(2).Locator(".slots li")).ToHaveCountAsync(2);
        await Button("One slot less on 10.0.0.3:11111@120000003").ClickAsync();
        await Expect(Silos.Nth(2).Locator(".slots li")).ToHaveCountAsync(1);
        await Button("Drain silo 10.0.0.2:11111@120000002").ClickAsync();
        await Expect(Page.GetByRole(AriaRole.Alertdialog, new() { Name = "Drain 10.0.0.2:11111@120000002?" })).ToBeVisibleAsync();
        await Button("Drain the silo").ClickAsync();
        await Expect(Silos.Nth(1).Locator(".state").First).ToHaveTextAsync("Leaving");
        await Expect(Button("Drain silo 10.0.0.2:11111@120000002")).ToHaveCountAsync(0);
    }

    [Fact]
    public async Task A_silo_s_buttons_stay_in_one_row_beside_the_head_s_mark()
    {
        await Page.SetViewportSizeAsync(1200, 800); // two columns, and the first silo's line is too long for one row
        await GoAsync(await ServeClusterAsync(), "#/workers");
        await Expect(Silos.First.Locator(".state").Nth(1)).ToHaveTextAsync("Head");
        ILocator buttons = Silos.First.Locator(".worker-head button");
        await Expect(buttons).ToHaveCountAsync(3);
        var boxes = new List<LocatorBoundingBoxResult>();
        foreach (ILocator button in await buttons.AllAsync())
        {
            boxes.Add((await button.BoundingBoxAsync())!);
        }

        double[] middles = [.. boxes.Select(box => box.Y + (box.Height / 2.0))];
        Assert.True(middles.Max() - middles.Min() < 2, $"the buttons' middles are at {string.Join(", ", middles)} px"); // rows are at least 32 px apart; two are for rounding
        LocatorBoundingBoxResult line = (await Silos.First.Locator(".worker-head").BoundingBoxAsync())!;
        Assert.True(line.X + line.Width - (boxes[^1].X + boxes[^1].Width) < 2, "the last button does not end where its line does");
    }

    [Fact]
    public async Task A_farm_that_is_no_cluster_shows_no_silos()
    {
        FarmTestHost host = await ServeAsync(Never);
        await GoAsync(host, "#/workers");
        await Expect(Page.Locator(".worker").First).ToBeVisibleAsync();
        await Expect(Page.Locator(".silos")).ToBeHiddenAsync();
    }
}
