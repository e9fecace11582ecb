using MetaQuery.Cli.Commands;
using MetaQuery.Client;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Cli.Tests;

/// <summary>What commands that speak to a server say when it is not as they expect, or when they are stopped.</summary>
public class RemoteCommandTests
{
    [Fact]
    public async Task A_watch_that_is_stopped_says_that_the_job_goes_on_and_how_to_watch_it_again()
    {
        var watched = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await ServeAsync(app => app.MapGet("/v1/jobs/{id}/events", async (HttpContext context) =>
        {
            watched.TrySetResult();
            await Task.Delay(Timeout.Infinite, context.RequestAborted);
        }));
        var url = server.Urls.Single();
        using var watch = CliProcess.Start("job", "watch", "job_7", "--server", url);
        await watched.Task.WaitAsync(TimeSpan.FromMinutes(5));
        watch.CtrlC();
        var ended = watch.Wait();
        Assert.Equal(ExitCodes.Cancelled, ended.ExitCode);
        Assert.Contains($"farm: stopping; job job_7 goes on at the farm, ./farm job watch job_7 --server {url} shows it again (once more ends at once)", ended.ErrorLines);
    }

    [Fact]
    public async Task A_server_that_is_no_farm_is_named_with_exit_code_7()
    {
        await using var server = await ServeAsync(app => app.MapFallback(() => Results.Text("File not found", statusCode: 404)));
        var url = server.Urls.Single();
        Assert.Equal(
            $"farm: {url}/ answers, but is no MetaQuery.Farm (404 Not Found); --server names its address", CliProcess.Run("job", "list", "--server", url).OneLineError(ExitCodes.Unreachable));
    }

    [Fact]
    public async Task Hints_are_in_the_command_line_s_words()
    {
        var unknown = new FarmApiException(404, new Error("there is no silo x; /v1/silos lists them", "invalid_request_error", "id", "not_found"), null, null);
        var said = await Assert.ThrowsAsync<UsageException>(() => ServerOptions.KnownAsync(Task.FromException<SiloList>(unknown), "silo", "x"));
        Assert.Equal("there is no silo x; ./farm silo list shows what there is", said.Message);

        var keyless = new FarmApiException(401, new Error("no key was given", "invalid_request_error", "Authorization", "invalid_api_key"), null, null);
        Assert.Equal("no key was given (set METAQUERY_API_KEY)", Failure.MessageOf(keyless, Failure.CodeOf(keyless)));
    }

    private static async Task<WebApplication> ServeAsync(Action<WebApplication> map)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        var app = builder.Build();
        app.Urls.Add("http://127.0.0.1:0");
        map(app);
        await app.StartAsync();
        return app;
    }
}
