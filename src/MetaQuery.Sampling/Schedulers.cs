using System.Text.Json;

namespace MetaQuery.Sampling;

/// <summary>Chooses the scheduler that a checkpoint's scheduler_config.json names.</summary>
public static class Schedulers
{
    /// <param name="config">The file's JSON object; a bare -Infinity in it must already have been made JSON.</param>
    /// <exception cref="SchedulerException">The class or one of its settings is not supported.</exception>
    public static IScheduler FromConfig(JsonElement config)
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
