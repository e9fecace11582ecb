using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Text;
using System.Text.Json;
using MetaQuery.Silo.Tests.Doubles;
using Xunit.Abstractions;

namespace MetaQuery.Silo.Tests.Fuzz;

/// <summary>
/// Random requests made from the OpenAPI document, a third of them valid, to a whole server of which only the pipeline's halves are toys. METAQUERY_FUZZ=100000 makes so many (2,000 otherwise), METAQUERY_FUZZ_SEED other ones.
/// </summary>
public sealed class FuzzTests(ITestOutputHelper output)
{
    private const int Senders = 4;

    private readonly ConcurrentDictionary<string, int> _byOperation = new();
    private readonly ConcurrentDictionary<int, int> _byStatus = new();
    private readonly ConcurrentBag<string> _wrong = [];
    private int _valid;

    [Fact]
    public async Task Random_requests_bring_no_5xx_and_malformed_ones_a_4xx_in_the_right_shape()
    {
        int total = Number("METAQUERY_FUZZ", 2000), seed = Number("METAQUERY_FUZZ_SEED", 1);
        await using ToyServer host = await ToyServer.StartAsync();
        await host.ReadyAsync(); // /readyz answers 503 until the worker has joined, as the document says of it
        JsonElement document = await (await host.Http.GetAsync("/openapi/v1.json")).JsonAsync();
        Assert.True(document.GetProperty("paths").GetProperty("/readyz").GetProperty("get").GetProperty("responses").TryGetProperty("503", out _));
        IReadOnlyList<Operation> operations = RequestMaker.Read(document);
        var jobs = new JobPool();
        for (int i = 0; i < 5; i++)
        {
            jobs.Add(await host.Http.SubmitAsync());
        }

        await Task.WhenAll(Enumerable.Range(0, Senders).Select(sender => Task.Run(async () =>
        {
            var random = new Random((seed * Senders) + sender);
            var maker = new RequestMaker(document, random, jobs);
            for (int i = sender; i < total; i += Senders)
            {
                await TryAsync(host, maker, operations[i / Senders % operations.Count], isValid: random.Next(3) == 0, jobs);
            }
        })));

        output.WriteLine($"{total} requests of seed {seed}, {_valid} of them valid; by status: {string.Join(", ", _byStatus.OrderBy(status => status.Key).Select(status => $"{status.Key}: {status.Value}"))}");
        output.WriteLine($"{_byOperation.Count} operations, each at least {_byOperation.Values.Min()} times");
        Assert.True(_wrong.IsEmpty, $"{_wrong.Count} wrong answers, such as\n" + string.Join("\n", _wrong.Take(10)));
        Assert.Equal(operations.Count, _byOperation.Count);
        Assert.InRange(_valid, total * 0.3, total * 0.37);
    }

    private static int Number(string variable, int standard) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), NumberStyles.None, CultureInfo.InvariantCulture, out int number) ? number : standard;

    private async Task TryAsync(ToyServer host, RequestMaker maker, Operation operation, bool isValid, JobPool jobs)
    {
        using HttpRequestMessage request = isValid ? maker.Valid(operation) : maker.Wrong(operation);
        string sent = $"{operation.Id}: {request.Method} {request.RequestUri} {request.Headers.ToString().ReplaceLineEndings(" ")}{(request.Content is { } content ? Encoding.UTF8.GetString(await content.ReadAsByteArrayAsync()) : "")}";
        using HttpResponseMessage answer = await host.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        int status = (int)answer.StatusCode;
        _byStatus.AddOrUpdate(status, 1, (_, count) => count + 1);
        _byOperation.AddOrUpdate(operation.Id, 1, (_, count) => count + 1);
        Interlocked.Add(ref _valid, isValid ? 1 : 0);
        string text = status >= 400 || operation.Id == "createJob" ? await answer.Content.ReadAsStringAsync() : "";
        if (status >= 500 || (isValid && status is 400 or 405 or 413 or 415))
        {
            _wrong.Add($"{status} to {(isValid ? "valid" : "wrong")} {sent}: {text}");
        }
        else if (status >= 400 && request.Method != HttpMethod.Head && !IsError(text, mustNameField: status == 400))
        {
            _wrong.Add($"{status} without the API's shape to {sent}: {text}");
        }
        else if (status == (int)HttpStatusCode.Accepted && operation.Id == "createJob" && request.Method == HttpMethod.Post)
        {
            jobs.Add(JsonDocument.Parse(text).RootElement.GetProperty("id").GetString()!);
        }
        else if (status == (int)HttpStatusCode.OK && request.Method == HttpMethod.Delete)
        {
            jobs.Remove(JsonDocument.Parse(await answer.Content.ReadAsStringAsync()).RootElement.GetProperty("id").GetString()!);
        }
    }

    private static bool IsError(string text, bool mustNameField)
    {
        try
        {
            JsonElement error = JsonDocument.Parse(text).RootElement.GetProperty("error");
            return error.GetProperty("message").GetString() is { Length: > 0 } message && !message.Contains('\n', StringComparison.Ordinal)
                && (!mustNameField || error.GetProperty("param").GetString() is { Length: > 0 });
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return false;
        }
    }
}
