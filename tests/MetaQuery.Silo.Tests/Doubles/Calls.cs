using System.Net;
using System.Text;
using System.Text.Json;
using MetaQuery.Client;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>Requests as any program would send them, and what came of them.</summary>
internal static class Calls
{
    public static Task<HttpResponseMessage> PostJsonAsync(this HttpClient http, string path, string json, params (string Name, string Value)[] headers)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new StringContent(json, Encoding.UTF8, "application/json") };
        foreach ((string name, string value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return http.SendAsync(request);
    }

    public static Task<HttpResponseMessage> GetAsync(this HttpClient http, string path, params (string Name, string Value)[] headers)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, path);
        foreach ((string name, string value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return http.SendAsync(request);
    }

    public static async Task<JsonElement> JsonAsync(this HttpResponseMessage answer, HttpStatusCode expected = HttpStatusCode.OK)
    {
        string text = await answer.Content.ReadAsStringAsync();
        Assert.True(answer.StatusCode == expected, $"{(int)answer.StatusCode}, expected {(int)expected}: {text}");
        return JsonDocument.Parse(text).RootElement;
    }

    /// <summary>The error of an answer, in OpenAI's shape: all four members are there.</summary>
    public static async Task<Error> ErrorAsync(this HttpResponseMessage answer, HttpStatusCode expected)
    {
        JsonElement error = (await answer.JsonAsync(expected)).GetProperty("error");
        Assert.Equal(["message", "type", "param", "code"], error.EnumerateObject().Select(member => member.Name));
        string message = error.GetProperty("message").GetString()!;
        Assert.DoesNotContain('\n', message);
        return new Error(message, error.GetProperty("type").GetString()!, error.GetProperty("param").GetString(), error.GetProperty("code").GetString());
    }

    /// <summary>Makes a job of literal prompts.</summary>
    public static async Task<string> SubmitAsync(this HttpClient http, string json = """{"prompts":["a red apple"]}""") =>
        (await (await http.PostJsonAsync("/v1/jobs", json)).JsonAsync(HttpStatusCode.Accepted)).GetProperty("id").GetString()!;

    /// <summary>Waits for a job's end, as events tell it.</summary>
    public static async Task<Job> EndAsync(this FarmTestHost host, string id)
    {
        using var client = new FarmClient(host.Url);
        await foreach (JobEvent happened in client.WatchJobAsync(id))
        {
            if (JobStates.IsFinal(happened.Data.Job.State))
            {
                return happened.Data.Job;
            }
        }

        return await client.GetJobAsync(id);
    }
}
