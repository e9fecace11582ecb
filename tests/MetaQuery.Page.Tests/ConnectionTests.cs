using MetaQuery.Client;
using MetaQuery.Farm;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.Silo.Web;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace MetaQuery.Page.Tests;

public sealed class ConnectionTests(Chromium chromium) : PageTest(chromium)
{
    [Fact]
    public async Task A_stream_that_breaks_is_taken_up_again_after_the_last_event()
    {
        FarmTestHost host = await ServeAsync(TimeSpan.FromMilliseconds(20));
        Job job = await host.SubmitAsync(new JobRequest { Prompts = ["a cat"], ImagesPerPrompt = 30 });
        await host.CommandAsync(job.Id, "pause");
        var resumed = new List<string?>();
        int streams = 0;
        await Page.RouteAsync("**/events", async route =>
        {
            resumed.Add(await route.Request.HeaderValueAsync("last-event-id"));
            if (Interlocked.Increment(ref streams) == 1)
            {
                // a first event, and then the connection is gone
                string text = await FirstEventAsync(host, job.Id);
                await route.FulfillAsync(new() { ContentType = "text/event-stream", Body = text + "data: {\"half of an ev" });
            }
            else if (streams <= 3)
            {
                await route.AbortAsync("connectionreset");
            }
            else
            {
                await route.ContinueAsync();
            }
        });
        await GoAsync(host, $"#/jobs/{job.Id}");
        await Expect(Page.Locator(".link-state")).ToContainTextAsync("Connection lost, trying again");
        await Expect(Page.Locator(".link-state")).ToHaveTextAsync("Live");
        await host.CommandAsync(job.Id, "resume");
        await SeePicturesAsync(30);
        await Expect(Page.Locator(".job-head .state")).ToHaveTextAsync("Completed");
        Assert.Equal(4, resumed.Count);
        Assert.Null(resumed[0]);
        Assert.NotNull(resumed[1]); // from where the broken stream was
        Assert.Equal(resumed[1], resumed[3]);
    }

    [Fact]
    public async Task A_tab_that_nobody_sees_holds_no_stream_open()
    {
        FarmTestHost host = await ServeAsync(TimeSpan.FromMilliseconds(20));
        Job job = await host.SubmitAsync(new JobRequest { Prompts = ["a cat"], ImagesPerPrompt = 8 });
        await host.CommandAsync(job.Id, "pause");
        await GoAsync(host, $"#/jobs/{job.Id}");
        await Expect(Page.Locator(".link-state")).ToHaveTextAsync("Live");
        var ended = new TaskCompletionSource();
        Page.RequestFailed += (_, request) =>
        {
            if (request.Url.EndsWith("/events", StringComparison.Ordinal))
            {
                ended.TrySetResult();
            }
        };
        await HideAsync(true);
        await ended.Task.WaitAsync(TimeSpan.FromSeconds(20));
        await host.CommandAsync(job.Id, "resume");
        await host.EndAsync(job.Id);
        await HideAsync(false);
        await SeePicturesAsync(8);
        await Expect(Page.Locator(".job-head .state")).ToHaveTextAsync("Completed");

        Task HideAsync(bool hidden) => Page.EvaluateAsync("(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true }); document.dispatchEvent(new Event('visibilitychange')); }", hidden);
    }

    [Fact]
    public async Task A_farm_that_goes_and_comes_back_is_noticed_without_a_reload()
    {
        using var farm = new FakeFarm(TimeSpan.FromMilliseconds(20));
        var keys = new ApiKeyRing(file: null);
        FarmWebServer server = await FarmWebServer.StartAsync(farm, keys, new WebOptions { Urls = ["http://127.0.0.1:0"] });
        var options = new WebOptions { Urls = [server.Urls[0]] };
        await Page.GotoAsync(server.Urls[0]);
        await Page.GetByLabel("Prompts", new() { Exact = true }).FillAsync("a cat");
        await Page.GetByLabel("Pictures per prompt").FillAsync("150");
        await Button("Make pictures").ClickAsync();
        await Expect(Pictures).Not.ToHaveCountAsync(0);
        await server.StopAsync();
        await server.DisposeAsync();
        await Expect(Page.Locator(".link-state")).ToContainTextAsync("Connection lost, trying again");
        server = await FarmWebServer.StartAsync(farm, keys, options);
        Own(server);
        await Expect(Page.Locator(".job-head .state")).ToHaveTextAsync("Completed");
        await Page.GetByLabel("Page", new() { Exact = true }).FillAsync("1");
        await Page.GetByLabel("Page", new() { Exact = true }).PressAsync("Enter");
        await SeePicturesAsync(120); // also those made while it was away
    }

    [Fact]
    public async Task A_key_is_asked_for_kept_for_the_tab_and_enough_for_pictures_and_events()
    {
        string folder = Directory.CreateTempSubdirectory("metaquery-page-").FullName;
        try
        {
            var file = new ApiKeyFile(folder);
            (ApiKey key, string secret) = ApiKey.Create("alice", admin: false, 1, null, null, DateTimeOffset.UtcNow);
            file.Add(key);
            FarmTestHost host = await ServeAsync(TimeSpan.FromMilliseconds(20), new ApiKeyRing(file));
            await GoAsync(host);
            ILocator dialog = Page.GetByRole(AriaRole.Dialog, new() { Name = "API key" });
            await Expect(dialog).ToBeVisibleAsync();
            await Expect(Page.GetByLabel("This farm needs an API key")).ToBeFocusedAsync();
            await Page.Keyboard.PressAsync("Escape");
            await Expect(Page.GetByRole(AriaRole.Alert).Filter(new() { HasText = "no key was given" })).ToBeVisibleAsync();
            await Page.GetByRole(AriaRole.Alert).GetByRole(AriaRole.Button).ClickAsync();
            await Page.Keyboard.TypeAsync("mq_wrong");
            await Page.Keyboard.PressAsync("Enter");
            await Expect(dialog).ToContainTextAsync("The farm refused the key it was given.");
            await Page.GetByLabel("This farm needs an API key").FillAsync(secret);
            await Button("Use this key").ClickAsync();
            await Expect(Heading("No jobs yet")).ToBeVisibleAsync();
            await Page.GetByLabel("Prompts", new() { Exact = true }).FillAsync("a cat\na dog");
            await Button("Make pictures").ClickAsync();
            await SeePicturesAsync(2);
            await Expect(Page.Locator(".job-head .about")).ToContainTextAsync("alice");
            await Page.ReloadAsync();
            await SeePicturesAsync(2);
            Assert.Equal(secret, await Page.EvaluateAsync<string>("() => sessionStorage.getItem('metaquery.key')"));
            Assert.DoesNotContain(secret, await Page.EvaluateAsync<string>("() => JSON.stringify(localStorage) + document.cookie + location.href + document.documentElement.outerHTML"), StringComparison.Ordinal);
            IPage other = await Page.Context.NewPageAsync();
            await other.GotoAsync(host.Url.ToString());
            await Expect(other.GetByRole(AriaRole.Dialog, new() { Name = "API key" })).ToBeVisibleAsync(); // another tab knows nothing of it
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public async Task A_full_queue_says_when_to_come_again_and_the_second_try_is_the_same_job()
    {
        var farm = new FakeFarm(TimeSpan.Zero) { Refusal = new QueueFullException("the queue is full: 10,000 images wait", TimeSpan.FromSeconds(90)), Readiness = new FarmReadiness(false, "no worker of model toy is there") };
        FarmTestHost host = await FarmTestHost.StartAsync(farm, owned: farm);
        Own(host);
        var keys = new List<string>();
        await Page.RouteAsync("**/v1/jobs", async route =>
        {
            keys.Add((await route.Request.HeaderValueAsync("idempotency-key"))!);
            await route.ContinueAsync();
        });
        await GoAsync(host);
        await Expect(Page.Locator("#notices")).ToHaveTextAsync("The farm takes jobs but cannot work on them now: no worker of model toy is there");
        await Page.GetByLabel("Prompts", new() { Exact = true }).FillAsync("a cat");
        await Button("Make pictures").ClickAsync();
        ILocator alert = Page.GetByRole(AriaRole.Alert).Filter(new() { HasText = "the queue is full: 10,000 images wait" });
        await Expect(alert).ToContainTextAsync("Try again in 1 min 30 s.");
        farm.Refusal = null;
        await Button("Make pictures").ClickAsync();
        await SeePicturesAsync(1);
        Assert.Equal(2, keys.Count);
        Assert.Equal(keys[0], keys[1]);
    }

    private static async Task<string> FirstEventAsync(FarmTestHost host, string job)
    {
        await using Stream stream = await host.Http.GetStreamAsync($"/v1/jobs/{job}/events");
        using var reader = new StreamReader(stream);
        var text = new System.Text.StringBuilder();
        bool hasData = false;
        while (await reader.ReadLineAsync() is { } line)
        {
            text.Append(line).Append('\n');
            hasData |= line.StartsWith("data:", StringComparison.Ordinal);
            if (line.Length == 0 && hasData)
            {
                break;
            }
        }

        return text.ToString();
    }
}
