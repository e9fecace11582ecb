using System.Text.Json;

namespace MetaQuery.Sampling;

/// <summary>Chooses the scheduler that a checkpoint's scheduler_config.json names.</summary>
public static class Schedulers
{
    /// <param name="config">A value of scheduler_config.json by its key, null where there is none.</param>
    /// <exception cref="SchedulerException">The class or one of its settings is not supported.</exception>
    public static IScheduler FromConfig(Func<string, JsonElement?> config)
    {
        var className = new SchedulerConfig(config).Text("_class_name", "");
        return className switch
        {
            "DPMSolverMultistepScheduler" => DpmSolverMultistepScheduler.FromConfig(config),
            "FlowMatchEulerDiscreteScheduler" => FlowMatchEulerDiscreteScheduler.FromConfig(config),
            _ => throw new SchedulerException(
                $"scheduler_config.json: _class_name is '{className}', expected DPMSolverMultistepScheduler or FlowMatchEulerDiscreteScheduler"),
        };
    }
}
