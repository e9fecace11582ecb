using System.Formats.Tar;
using System.Security.Cryptography;
using System.Text.Json;
using MetaQuery.Silo;
using MetaQuery.Silo.Hosting;
using MetaQuery.Silo.Web;
using MetaQuery.TestKit;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace MetaQuery.Page.Tests;

/// <summary>Nothing is faked here: the server that a user starts, its head and worker, and a model.</summary>
public sealed class RealFarmTests(Chromium chromium) : PageTest(chromium)
{
    [Fact]
    public async Task Pictures_of_the_Nano_model_are_seen_looked_at_and_downloaded()
    {
        await WithServerAsync(Path.Combine(RepositoryFolders.Root, "models", "nano"), dtype: null, async () =>
        {
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
        });
    }

    [Fact]
    public async Task Prompts_about_pictures_are_made_by_a_model_that_reads_them()
    {
        using TinyMetaQuery tiny = TinyMetaQuery.Sana();
        string[] files = [.. new[] { "00_rgb_61x43.png", "06_jpegexif_48x30.jpg", "07_rgb_1x1.png" }.Select(TinyMetaQuery.Picture)];
        await WithServerAsync(tiny.Folder, "float32", async () =>
        {
            await Expect(Page.GetByText("Add pictures")).ToBeVisibleAsync();
            await Page.GetByLabel("Add pictures").SetInputFilesAsync(files);
            await Expect(Page.Locator(".chosen li")).ToHaveCountAsync(3);
            await Page.WaitForFunctionAsync("() => [...document.querySelectorAll('.chosen img')].every((image) => image.naturalWidth > 0)");
            await Button("Remove 07_rgb_1x1.png").FocusAsync();
            await Page.Keyboard.PressAsync("Enter");
            await Expect(Button("Remove 06_jpegexif_48x30.jpg")).ToBeFocusedAsync();
            await Page.GetByLabel("Prompts", new() { Exact = true }).FillAsync("make it red\n\"both\" together");
            await Page.GetByLabel("Pictures per prompt").FillAsync("2");
            await Expect(Page.GetByText("2 prompts, 4 pictures, each from 2 pictures")).ToBeVisibleAsync();
            await Page.GetByText("Settings", new() { Exact = true }).ClickAsync();
            await Page.GetByLabel("Image guidance").FillAsync("2.5");
            await Button("Make pictures").ClickAsync();
            await SeePicturesAsync(4);
            await Expect(Page.Locator(".job-head .state")).ToHaveTextAsync("Completed");
            await Expect(Page.Locator(".gallery .caption").Nth(2)).ToHaveTextAsync("\"both\" together");
            string metadata = await Page.EvaluateAsync<string>("async () => JSON.stringify((await (await fetch(`/v1/jobs/${location.hash.split('/')[2]}/samples/0`)).json()).metadata)");
            using (JsonDocument json = JsonDocument.Parse(metadata))
            {
                Assert.Equal(2.5, json.RootElement.GetProperty("image_guidance").GetDouble());
                Assert.Equal(
                    files[..2].Select(file => Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(file)))), json.RootElement.GetProperty("images").EnumerateArray().Select(hash => hash.GetString()));
            }

            await Page.GetByRole(AriaRole.Navigation, new() { Name = "Main" }).GetByText("Jobs").ClickAsync();
            await Page.GetByLabel("Add pictures").SetInputFilesAsync(files[0]);
            await Expect(Page.GetByText("Made again, 2 times")).ToBeVisibleAsync();
            await Button("Make pictures").ClickAsync();
            await SeePicturesAsync(2);
            await Expect(Page.Locator(".job-head .state")).ToHaveTextAsync("Completed");
        });
    }

    private async Task WithServerAsync(string modelFolder, string? dtype, Func<Task> look)
    {
        string data = Directory.CreateTempSubdirectory("metaquery-page-").FullName;
        using LocalModel model = LocalModel.Load(modelFolder, dtype);
        using var stop = new CancellationTokenSource();
        var listening = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        var options = new ServeOptions { DataFolder = data, ModelFolder = "", Web = new WebOptions { Urls = ["http://127.0.0.1:0"] } };
        Task serving = EmbeddedServer.RunAsync(model, options, urls => listening.SetResult(urls[0]), logging: null, stop.Token);
        try
        {
            await Task.WhenAny(listening.Task, serving);
            await Page.GotoAsync(await listening.Task);
            await look();
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
