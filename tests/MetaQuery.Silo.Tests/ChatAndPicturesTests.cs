using MetaQuery.Client;
using MetaQuery.Silo.Hosting;
using MetaQuery.Silo.Tests.Doubles;
using MetaQuery.TestKit;

namespace MetaQuery.Silo.Tests;

/// <summary>The whole server over the default model: one language model reads prompts and answers questions.</summary>
public sealed class ChatAndPicturesTests
{
    [Fact]
    public async Task Answers_are_the_same_before_while_and_after_pictures_are_made_and_the_pictures_too()
    {
        using var folder = new TemporaryFolder();
        using LocalModel model = LocalModel.Load(RepositoryFolders.NanoModel, "float32");
        using var stop = new CancellationTokenSource();
        var listening = new TaskCompletionSource<Uri>(TaskCreationOptions.RunContinuationsAsynchronously);
        var options = new ServeOptions { DataFolder = folder.Path, ModelFolder = RepositoryFolders.NanoModel, Web = new Web.WebOptions { Urls = ["http://127.0.0.1:0"], RequestTimeout = TimeSpan.FromMinutes(10) } };
        Task serving = Task.Run(() => EmbeddedServer.RunAsync(model, options, urls => listening.SetResult(new Uri(urls[0])), logging: null, stop.Token));
        using (var client = new FarmClient(await listening.Task))
        {
            async Task<ChatResponse> Ask(double temperature, long seed) => await client.ChatAsync(new ChatRequest
            {
                Messages = [new ChatMessage { Role = "user", Content = "What is the capital of France?" }], Temperature = temperature, Seed = seed, MaxTokens = 12,
            });
            async Task<string> Draw() => (await client.GenerateImagesAsync(new ImageRequest { Prompt = "red heart, noto style", Seed = 5, Steps = 2 })).Data[0].B64Json!;
            ChatResponse greedy = await Ask(0, 0), drawn = await Ask(1.3, 9);
            Assert.Contains("Paris", greedy.Choices[0].Message.Content, StringComparison.Ordinal);
            Task<string> drawing = Draw();
            Assert.Equal(drawn.Choices[0], (await Ask(1.3, 9)).Choices[0]);
            string picture = await drawing;
            Assert.Equal(greedy.Choices[0], (await Ask(0, 0)).Choices[0]);
            Assert.Equal(drawn.Choices[0], (await Ask(1.3, 9)).Choices[0]);
            Assert.Equal(picture, await Draw());
            Assert.Equal((greedy.SystemFingerprint, "nano"), (drawn.SystemFingerprint, drawn.Model));
        }

        await stop.CancelAsync();
        await serving;
    }
}
