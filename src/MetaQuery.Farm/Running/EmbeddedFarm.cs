namespace MetaQuery.Farm;

/// <summary>Runs jobs inside this process: slots, condition cache, journal and shards, no server.</summary>
/// <param name="model">A loaded model; the farm takes one encoder and one denoiser per slot from it.</param>
public sealed partial class EmbeddedFarm(IFarmModel model)
{
    private readonly IFarmModel _model = model;

    /// <summary>What <see cref="RunAsync"/> would do, without doing it.</summary>
    /// <exception cref="FarmException">See <see cref="RunAsync"/>.</exception>
    public Task<JobPlanSummary> PlanAsync(JobSpec spec, FarmOptions options, CancellationToken cancellationToken) =>
        throw new NotImplementedException();

    /// <summary>Turns a job into shards and a manifest, or goes on with one that was stopped.</summary>
    /// <returns>How it ended: also when cancelled, with the folder in a state to go on from.</returns>
    /// <exception cref="FarmException">One line for the user, with an exit code.</exception>
    public Task<JobResult> RunAsync(JobSpec spec, FarmOptions options, IProgress<JobProgress>? progress, CancellationToken cancellationToken) =>
        throw new NotImplementedException();

    /// <summary>Makes pictures in memory with the same seeds and bits as a job of the same prompts; <see cref="JobSpec.OutFolder"/> is not used.</summary>
    /// <exception cref="FarmException">One line for the user, with an exit code.</exception>
    public Task<IReadOnlyList<GeneratedImage>> GenerateAsync(
        JobSpec spec, FarmOptions options, IProgress<JobProgress>? progress, CancellationToken cancellationToken) =>
        throw new NotImplementedException();
}
