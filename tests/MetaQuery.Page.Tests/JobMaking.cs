using System.Net.Http.Json;
using MetaQuery.Client;
using MetaQuery.Silo.Tests.Doubles;

namespace MetaQuery.Page.Tests;

/// <summary>Jobs made past the page, as another client would.</summary>
internal static class JobMaking
{
    public static Task<Job> SubmitAsync(this FarmTestHost host, params string[] prompts) => host.SubmitAsync(new JobRequest { Prompts = prompts });

    public static async Task<Job> SubmitAsync(this FarmTestHost host, JobRequest request)
    {
        HttpResponseMessage answer = await host.Http.PostAsJsonAsync("/v1/jobs", request, FarmJson.Default.JobRequest);
        Assert.True(answer.IsSuccessStatusCode, await answer.Content.ReadAsStringAsync());
        return (await answer.Content.ReadFromJsonAsync(FarmJson.Default.Job))!;
    }

    public static async Task<Job> GetAsync(this FarmTestHost host, string id) => (await host.Http.GetFromJsonAsync($"/v1/jobs/{id}", FarmJson.Default.Job))!;

    public static async Task CommandAsync(this FarmTestHost host, string id, string command) => (await host.Http.PostAsync($"/v1/jobs/{id}/{command}", content: null)).EnsureSuccessStatusCode();

    /// <summary>Waits until a job has ended.</summary>
    public static async Task<Job> EndAsync(this FarmTestHost host, string id)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        while (true)
        {
            Job job = await host.GetAsync(id);
            if (JobStates.IsFinal(job.State))
            {
                return job;
            }

            await Task.Delay(10, limit.Token);
        }
    }
}
