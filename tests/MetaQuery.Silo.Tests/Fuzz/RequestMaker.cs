using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace MetaQuery.Silo.Tests.Fuzz;

/// <summary>An operation of an OpenAPI document.</summary>
internal sealed record Operation(string Id, HttpMethod Method, string Path, IReadOnlyList<JsonElement> Parameters, JsonElement? Body);

/// <summary>Requests made from an OpenAPI document.</summary>
internal sealed class RequestMaker(JsonElement document, Random random, JobPool jobs)
{
    private readonly SchemaValues _values = new(document, random);

    public static IReadOnlyList<Operation> Read(JsonElement document) =>
    [
        .. from path in document.GetProperty("paths").EnumerateObject()
           from method in path.Value.EnumerateObject()
           select new Operation(
               method.Value.GetProperty("operationId").GetString()!, new HttpMethod(method.Name.ToUpperInvariant()), path.Name,
               method.Value.TryGetProperty("parameters", out JsonElement parameters) ? [.. parameters.EnumerateArray()] : [],
               method.Value.TryGetProperty("requestBody", out JsonElement body) ? body.GetProperty("content") : null),
    ];

    /// <summary>A request that the document allows: it may be refused for what the farm holds (404, 409, 416), never as malformed.</summary>
    public HttpRequestMessage Valid(Operation operation)
    {
        var request = new HttpRequestMessage(operation.Method, Address(operation, isValid: true));
        foreach (JsonElement header in In(operation, "header"))
        {
            if (random.Next(3) == 0)
            {
                request.Headers.TryAddWithoutValidation(header.GetProperty("name").GetString()!, $"key-{random.Next(200)}");
            }
        }

        if (operation.Id == "getFile" && random.Next(2) == 0)
        {
            request.Headers.Range = new RangeHeaderValue(random.Next(200), null);
        }

        if (operation.Body is { } body)
        {
            request.Content = body.TryGetProperty("multipart/form-data", out JsonElement form) && random.Next(2) == 0 ? Upload(form) : Json(body);
        }

        return request;
    }

    /// <summary>A request with something wrong in it, somewhere.</summary>
    public HttpRequestMessage Wrong(Operation operation)
    {
        bool wrongAddress = operation.Body is null || random.Next(4) == 0;
        HttpMethod method = random.Next(20) == 0 ? new HttpMethod(((string[])["PUT", "PATCH", "POST", "DELETE", "GET", "OPTIONS"])[random.Next(6)]) : operation.Method;
        var request = new HttpRequestMessage(method, Address(operation, isValid: !wrongAddress));
        if (random.Next(6) == 0)
        {
            request.Headers.TryAddWithoutValidation(((string[])["Idempotency-Key", "Last-Event-ID", "Range", "Origin", "If-None-Match", "Authorization", "Accept", "If-Range"])[random.Next(8)], Ascii(_values.Anything()));
        }

        if (operation.Body is { } body && method != HttpMethod.Get)
        {
            JsonElement schema = body.GetProperty("application/json").GetProperty("schema");
            request.Content = random.Next(6) switch
            {
                0 => Typed(_values.Broken(schema), ((string[])["text/plain", "application/xml", "multipart/form-data", "multipart/form-data; boundary=x", "", "application/json; charset=utf-7"])[random.Next(6)]),
                1 when body.TryGetProperty("multipart/form-data", out _) => Typed(BrokenUpload(schema), "multipart/form-data; boundary=b"),
                2 => Bytes(),
                _ => Typed(_values.Broken(schema), "application/json"),
            };
        }

        return request;
    }

    private static IEnumerable<JsonElement> In(Operation operation, string place) => operation.Parameters.Where(parameter => parameter.GetProperty("in").GetString() == place);

    private Uri Address(Operation operation, bool isValid)
    {
        string path = operation.Path;
        foreach (JsonElement parameter in In(operation, "path"))
        {
            string name = parameter.GetProperty("name").GetString()!;
            path = path.Replace($"{{{name}}}", Uri.EscapeDataString(isValid || random.Next(3) > 0 ? Known(operation, name) : _values.Anything() is { Length: > 0 } any ? any : "x"), StringComparison.Ordinal);
        }

        var query = new List<string>();
        foreach (JsonElement parameter in In(operation, "query"))
        {
            if (random.Next(2) == 0)
            {
                continue;
            }

            string name = parameter.GetProperty("name").GetString()!;
            string value = isValid
                ? name == "after" ? jobs.Any(random) : _values.Valid(parameter.GetProperty("schema")) is JsonArray list ? string.Join(',', list) : _values.Valid(parameter.GetProperty("schema"))!.ToString()
                : _values.Anything();
            query.Add($"{name}={Uri.EscapeDataString(value)}");
        }

        return new Uri(path + (query.Count > 0 ? "?" + string.Join('&', query) : ""), UriKind.Relative);
    }

    private string Known(Operation operation, string name) => (operation.Path, name) switch
    {
        (_, "position") => random.Next(4).ToString(),
        (_, "name") => ((string[])["00000.tar", "manifest.jsonl", "contact-sheet.png"])[random.Next(3)],
        ("/v1/workers/{id}/drain", _) => "worker-of-yesterday", // a drained server would do nothing more
        ("/v1/models/{id}", _) => ((string[])["toy", "dall-e-3"])[random.Next(2)],
        _ => jobs.Any(random),
    };

    private StringContent Json(JsonElement content)
    {
        var body = (JsonObject)_values.Valid(content.GetProperty("application/json").GetProperty("schema"))!;
        body.Remove("prompts_format"); // said of uploads, as the document's descriptions tell; and prompts of bodies without a file
        body.Remove("model");
        if (body["images"] is null && content.TryGetProperty("multipart/form-data", out JsonElement form) && !HasJob(form))
        {
            body["images"] = new JsonArray(Picture);
        }
        else if (body["images"] is null && content.TryGetProperty("multipart/form-data", out _) && body["prompts"] is null)
        {
            body["prompts"] = new JsonArray(_values.Prompt());
        }

        return Typed(body.ToJsonString(), "application/json");
    }

    private const string Picture = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNgYGAAAAAEAAH2FzhVAAAAAElFTkSuQmCC";

    private static bool HasJob(JsonElement form) => form.GetProperty("schema").GetProperty("properties").TryGetProperty("job", out _);

    private MultipartFormDataContent Upload(JsonElement form)
    {
        var content = new MultipartFormDataContent();
        if (!HasJob(form))
        {
            if (random.Next(3) > 0)
            {
                content.Add(new StringContent(_values.Prompt()), "prompt");
            }

            for (int i = random.Next(1, 4); i > 0; i--)
            {
                content.Add(new ByteArrayContent(Convert.FromBase64String(Picture[(Picture.IndexOf(',', StringComparison.Ordinal) + 1)..])), random.Next(2) == 0 ? "image" : "image[]", "x.png");
            }

            return content;
        }

        if (random.Next(3) > 0)
        {
            var job = (JsonObject)_values.Valid(form.GetProperty("schema").GetProperty("properties").GetProperty("job"))!;
            job.Remove("prompts");
            job.Remove("prompts_format");
            content.Add(Typed(job.ToJsonString(), "application/json"), "job");
        }

        string file = string.Concat(Enumerable.Range(0, random.Next(1, 4)).Select(_ => _values.Prompt() + "\n"));
        content.Add(new StringContent(file), "prompts", "prompts.txt");
        if (random.Next(3) == 0)
        {
            content.Add(new ByteArrayContent([1, 2, 3]), Ascii(_values.Prompt()) is { Length: > 0 } name ? "p" + name : "picture"); // that no line names
        }

        return content;
    }

    private string BrokenUpload(JsonElement schema)
    {
        string whole = $"--b\r\nContent-Disposition: form-data; name=\"{(random.Next(3) == 0 ? Ascii(_values.Anything()) : "job")}\"\r\n\r\n{_values.Broken(schema)}\r\n"
            + $"--b\r\nContent-Disposition: form-data; name=\"prompts\"; filename=\"{Ascii(_values.Anything())}{((string[])[".txt", ".jsonl", ".csv", ""])[random.Next(4)]}\"\r\n\r\n{_values.Anything()}\n{_values.Anything()}\r\n--b--\r\n";
        return random.Next(2) == 0 ? whole[..random.Next(whole.Length)] : whole.Remove(random.Next(whole.Length), 1);
    }

    private ByteArrayContent Bytes()
    {
        byte[] bytes = new byte[random.Next(200)];
        random.NextBytes(bytes);
        var content = new ByteArrayContent(bytes);
        content.Headers.TryAddWithoutValidation("Content-Type", "application/json");
        return content;
    }

    private static StringContent Typed(string text, string type)
    {
        var content = new StringContent(text, Encoding.UTF8);
        content.Headers.Remove("Content-Type");
        content.Headers.TryAddWithoutValidation("Content-Type", type);
        return content;
    }

    private static string Ascii(string text) => string.Concat(text.Where(letter => letter is > ' ' and < '\x7f' and not '"'));
}

/// <summary>Jobs that requests can name.</summary>
internal sealed class JobPool
{
    private readonly List<string> _ids = [];

    public void Add(string id)
    {
        lock (_ids)
        {
            _ids.Add(id);
        }
    }

    public void Remove(string id)
    {
        lock (_ids)
        {
            _ids.Remove(id);
        }
    }

    /// <summary>Mostly one of the latest, sometimes one that is not there.</summary>
    public string Any(Random random)
    {
        lock (_ids)
        {
            return _ids.Count == 0 || random.Next(10) == 0 ? "job_unknown" : _ids[^random.Next(1, Math.Min(50, _ids.Count) + 1)];
        }
    }
}
