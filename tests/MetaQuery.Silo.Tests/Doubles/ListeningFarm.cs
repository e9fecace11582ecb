using MetaQuery.Farm;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>Counts what comes of an uploaded file, and refuses the job at its end.</summary>
internal sealed class ListeningFarm : IFarm, IDisposable
{
    private readonly FakeFarm _inner = new(TimeSpan.Zero);
    private readonly SemaphoreSlim _came = new(0);
    private long _bytes;

    public ImageModelInfo Model => _inner.Model;

    public bool ReadsPictures => _inner.ReadsPictures;
    public FarmReadiness Readiness => _inner.Readiness;

    public async Task HasReadAsync(long bytes)
    {
        while (Interlocked.Read(ref _bytes) < bytes)
        {
            Assert.True(await _came.WaitAsync(TimeSpan.FromMinutes(1)), $"{_bytes} of {bytes} bytes came");
        }
    }

    public async Task<JobView> SubmitAsync(JobSubmission submission, CancellationToken cancellationToken)
    {
        byte[] piece = new byte[64 * 1024];
        for (int count; (count = await submission.Prompts!.ReadAsync(piece, cancellationToken)) > 0;)
        {
            Interlocked.Add(ref _bytes, count);
            _came.Release();
        }

        throw new JobSpecException("this farm takes no job");
    }

    public Task<JobView> GetAsync(JobReference job, CancellationToken cancellationToken) => _inner.GetAsync(job, cancellationToken);
    public Task<JobPage> ListAsync(JobQuery query, CancellationToken cancellationToken) => _inner.ListAsync(query, cancellationToken);
    public Task<JobView> ApplyAsync(JobReference job, JobCommand command, CancellationToken cancellationToken) => _inner.ApplyAsync(job, command, cancellationToken);
    public IAsyncEnumerable<JobEvent> WatchAsync(JobReference job, string? lastEventId, CancellationToken cancellationToken) => _inner.WatchAsync(job, lastEventId, cancellationToken);
    public Task<SamplePage> ListSamplesAsync(JobReference job, long fromPosition, int most, CancellationToken cancellationToken) => _inner.ListSamplesAsync(job, fromPosition, most, cancellationToken);
    public Task<SampleContent> ReadSampleAsync(JobReference job, long position, CancellationToken cancellationToken) => _inner.ReadSampleAsync(job, position, cancellationToken);
    public Task<IReadOnlyList<FailedSample>> ListFailuresAsync(JobReference job, int most, CancellationToken cancellationToken) => _inner.ListFailuresAsync(job, most, cancellationToken);
    public Task<IReadOnlyList<JobFile>> ListFilesAsync(JobReference job, CancellationToken cancellationToken) => _inner.ListFilesAsync(job, cancellationToken);
    public Task<Stream> OpenFileAsync(JobReference job, string name, CancellationToken cancellationToken) => _inner.OpenFileAsync(job, name, cancellationToken);
    public Task<IReadOnlyList<WorkerView>> ListWorkersAsync(CancellationToken cancellationToken) => _inner.ListWorkersAsync(cancellationToken);
    public Task<bool> DrainWorkerAsync(string worker, CancellationToken cancellationToken) => _inner.DrainWorkerAsync(worker, cancellationToken);
    public Task<FarmCounters> CountAsync(CancellationToken cancellationToken) => _inner.CountAsync(cancellationToken);
    public Task<TenantUsage> GetUsageAsync(string tenant, CancellationToken cancellationToken) => _inner.GetUsageAsync(tenant, cancellationToken);

    public void Dispose()
    {
        _came.Dispose();
        _inner.Dispose();
    }
}
