using System.Text.Json;

namespace MetaQuery.Sampling;

/// <summary>Chooses the scheduler for a checkpoint's scheduler_config.json.</summary>
public static class Schedulers
{
    /// <summary>The scheduler whose class the file names.</summary>
    /// <param name="config">A value of scheduler_config.json by its key, null where there is none.</param>
    /// <exception cref="SchedulerException">The class or one of its settings is not supported.</exception>
    public static IScheduler FromConfig(Func<string, JsonElement?> config) => Create(new SchedulerConfig(config).Text("_class_name", ""), config);

    /// <summary>A scheduler of a given class; the file may be another class's, and what it lacks takes the given class's defaults.</summary>
    /// <param name="className">As diffusers names it.</param>
    /// <param name="config">As in <see cref="FromConfig"/>.</param>
    /// <exception cref="SchedulerException">The class or one of its settings is not supported.</exception>
    public static IScheduler Create(string className, Func<string, JsonElement?> config) => className switch
    {
        "DPMSolverMultistepScheduler" => DpmSolverMultistepScheduler.FromConfig(config),
        "FlowMatchEulerDiscreteScheduler" => FlowMatchEulerDiscreteScheduler.FromConfig(config),
        "DDIMScheduler" => DdimScheduler.FromConfig(config),
        "DDPMScheduler" => DdpmScheduler.FromConfig(config),
        "PNDMScheduler" => PndmScheduler.FromConfig(config),
        _ => throw new SchedulerException(
            $"scheduler_config.json: _class_name is '{className}', expected DPMSolverMultistepScheduler, FlowMatchEulerDiscreteScheduler, DDIMScheduler, DDPMScheduler or PNDMScheduler"),
    };

    /// <summary>The scheduler that MetaQuery samples with: FlowMatchEuler where the file names it; otherwise DPM-Solver, whatever class the
    /// file is of (Stable Diffusion's is PNDM's), since the reference reads it so.</summary>
    /// <param name="config">As in <see cref="FromConfig"/>.</param>
    /// <exception cref="SchedulerException">A setting is not supported.</exception>
    public static IScheduler ForMetaQuery(Func<string, JsonElement?> config) => new SchedulerConfig(config).Text("_class_name", "") == "FlowMatchEulerDiscreteScheduler"
        ? FlowMatchEulerDiscreteScheduler.FromConfig(config)
        : DpmSolverMultistepScheduler.FromConfig(config);
}
