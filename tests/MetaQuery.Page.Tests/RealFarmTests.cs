using System.Formats.Tar;
using System.Security.Cryptography;
using MetaQuery.Silo;
using MetaQuery.Silo.Hosting;
using MetaQuery.Silo.Web;
using MetaQuery.TestKit;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace MetaQuery.Page.Tests;

/// <summary>Nothing is faked here: the server that a user starts, its head and worker, and the Nano model.</summary>
public sealed class RealFarmTests(Chromium chromium) : PageTest(chromium)
{
    [Fact]
    public async Task Pictures_of_the_Nano_model_are_seen_looked_at_and_downloaded()
    {
        string data = Directory.CreateTempSubdirectory("metaquery-page-").FullName;
        using LocalModel model = LocalModel.Load(Path.Combine(RepositoryFolders.Root, "models", "nano"));
        using var stop = new CancellationTokenSource();
        var listening = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        var options = new ServeOptions { DataFolder = data, ModelFolder = "", Web = new WebOptions { Urls = ["http://127.0.0.1:0"] } };
        Task serving = EmbeddedServer.RunAsync(model, options, urls => listening.SetResult(urls[0]), logging: null, stop.Token);
        try
        {
            await Task.WhenAny(listening.Task, serving);
            await Page.GotoAsync(await listening.Task);
            await Page.GetByLabel("Prompts", new() { Exact = true }).FillAsync("red heart, noto style\ngrinning face, noto style");
            await Page.GetByLabel("Pictures per prompt").FillAsync("4");
            await Page.GetByText("Settings", new() { Exact = true }).ClickAsync();
            await Page.GetByLabel("Steps").FillAsync("2");
            await Button("Make pictures").ClickAsync();
            await SeePicturesAsync(8);
            await Expect(Page.Locator(".job-head .state")).ToHaveTextAsync("Completed");
            await Expect(Page.Locator(".job-head")).ToContainTextAsync("written8denoised0encoded0waiting0failed0");

            await Page.GetByRole(AriaRole.Link, new() { Name = "Picture 8: grinning face, noto style" }).ClickAsync();
            ILocator dialog = Page.GetByRole(AriaRole.Dialog, new() { Name = "Picture 8 of 8" });
            await Expect(dialog.Locator(".fact").Last).ToContainTextAsync("SHA-256");
            IDownload picture = await Page.RunAndWaitForDownloadAsync(() => Button("Download").ClickAsync());
            byte[] image = await File.ReadAllBytesAsync(await picture.PathAsync());
            await Expect(dialog.Locator(".fact").Last.Locator("dd > span")).ToHaveTextAsync(Convert.ToHexStringLower(SHA256.HashData(image)));
            await Page.Keyboard.PressAsync("Escape");

            await Link("Files").ClickAsync();
            IDownload shard = await Page.RunAndWaitForDownloadAsync(() => Page.GetByRole(AriaRole.Link, new() { Name = "00000.tar" }).ClickAsync());
            Assert.Equal(image, LastPicture(await shard.PathAsync()));

            await Page.GetByRole(AriaRole.Navigation, new() { Name = "Main" }).GetByText("Workers").ClickAsync();
            await Expect(Page.Locator(".worker .state")).ToHaveTextAsync("Running");
            await Expect(Page.Locator(".worker .speeds")).ToContainTextAsync("Pictures made8");
        }
        finally
        {
            await stop.CancelAsync();
            await serving;
            Directory.Delete(data, recursive: true);
        }
    }

    private static byte[]? LastPicture(string path)
    {
        using var tar = new TarReader(File.OpenRead(path));
        byte[]? last = null;
        while (tar.GetNextEntry() is { } entry)
        {
            if (entry.Name.EndsWith(".png", StringComparison.Ordinal))
            {
                using var bytes = new MemoryStream();
                entry.DataStream!.CopyTo(bytes);
                last = bytes.ToArray();
            }
        }

        return last;
    }
}
