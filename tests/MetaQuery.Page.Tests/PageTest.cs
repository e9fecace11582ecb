using System.Collections.Concurrent;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.Silo.Web;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace MetaQuery.Page.Tests;

/// <summary>A page of its own over a server of its own. A script's error or a break of the content security policy fails any test.</summary>
[Collection(ChromiumCollection.Name)]
public abstract class PageTest(Chromium chromium) : IAsyncLifetime
{
    /// <summary>Long enough that nothing more is made while a test looks.</summary>
    protected static readonly TimeSpan Never = TimeSpan.FromHours(1);

    private readonly ConcurrentQueue<string> _faults = [];
    private readonly List<IAsyncDisposable> _owned = [];
    private IBrowserContext? _context;
    private IPage? _page;

    protected IPage Page => _page ?? throw new InvalidOperationException("the page is not open");

    protected virtual BrowserNewContextOptions Options => new() { ViewportSize = new ViewportSize { Width = 1280, Height = 800 }, ReducedMotion = ReducedMotion.Reduce };

    public async Task InitializeAsync()
    {
        _context = await chromium.Browser.NewContextAsync(Options);
        _context.SetDefaultTimeout(20_000);
        _page = await _context.NewPageAsync();
        _page.PageError += (_, error) => _faults.Enqueue(error);
        _page.Console += (_, message) =>
        {
            if (message.Text.Contains("Content Security Policy", StringComparison.OrdinalIgnoreCase))
            {
                _faults.Enqueue(message.Text);
            }
        };
    }

    public async Task DisposeAsync()
    {
        await Page.Context.CloseAsync();
        foreach (IAsyncDisposable owned in _owned)
        {
            await owned.DisposeAsync();
        }

        Assert.Empty(_faults);
    }

    /// <summary>Serves a fake farm.</summary>
    protected async Task<FarmTestHost> ServeAsync(TimeSpan timePerImage = default, ApiKeyRing? keys = null, bool readsPictures = false)
    {
        FarmTestHost host = await FarmTestHost.StartAsync(timePerImage, keys: keys, readsPictures: readsPictures);
        _owned.Add(host);
        return host;
    }

    /// <summary>Opens a place in the page, such as <c>#/workers</c>.</summary>
    protected async Task GoAsync(FarmTestHost host, string place = "#/") => await Page.GotoAsync($"{host.Url}{place}");

    protected void Own(IAsyncDisposable owned) => _owned.Add(owned);

    protected ILocator Button(string name) => Page.GetByRole(AriaRole.Button, new() { Name = name, Exact = true });

    protected ILocator Link(string name) => Page.GetByRole(AriaRole.Link, new() { Name = name, Exact = true });

    protected ILocator Heading(string name) => Page.GetByRole(AriaRole.Heading, new() { Name = name, Exact = true });

    protected ILocator Pictures => Page.Locator(".gallery .cell[data-state=made] img");

    /// <summary>Waits until so many pictures are there and drawn.</summary>
    protected async Task SeePicturesAsync(int count)
    {
        await Expect(Pictures).ToHaveCountAsync(count);
        await Page.WaitForFunctionAsync("() => [...document.querySelectorAll('.gallery .cell img')].every((image) => image.loading === 'lazy' ? image.getBoundingClientRect().top > innerHeight || image.naturalWidth > 0 : image.naturalWidth > 0)");
    }
}
