namespace MetaQuery.Sampling;

/// <summary>The timesteps of DDPM, DDIM and PNDM: whole numbers out of the training schedule (arXiv 2305.08891, table 2).</summary>
internal sealed class DiscreteTimesteps(SchedulerConfig config)
{
    private readonly int trained = config.TrainTimesteps();
    private readonly string spacing = config.OneOf("timestep_spacing", "leading", "linspace", "leading", "trailing");
    private readonly int offset = config.Integer("steps_offset", 0);

    /// <summary>Falling.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than one step, or more than the training schedule has.</exception>
    /// <exception cref="SchedulerException">steps_offset leads out of the training schedule.</exception>
    public int[] Of(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, trained);
        int[] timesteps = spacing switch
        {
            "linspace" => [.. NumericRange.Linspace(0, trained - 1, count).Select(timestep => (int)Math.Round(timestep)).Reverse()],
            "leading" => [.. Enumerable.Range(0, count).Select(i => ((count - 1 - i) * (trained / count)) + offset)],
            _ => [.. NumericRange.Falling(trained, (double)trained / count).Select(timestep => (int)Math.Round(timestep) - 1)],
        };
        return timesteps[0] < trained ? timesteps : throw new SchedulerException(
            $"scheduler_config.json: steps_offset is {offset}: {count} steps would begin at timestep {timesteps[0]}, behind the last of {trained}");
    }
}
