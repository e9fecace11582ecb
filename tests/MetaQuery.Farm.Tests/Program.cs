using MetaQuery.Farm.Tests.Doubles;
using MetaQuery.Farm.Tests.Queue;

namespace MetaQuery.Farm.Tests;

/// <summary>The child processes of the crash and memory tests.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        switch (arguments)
        {
            case ["run", var prompts, var outFolder, var slots]:
                // progress goes to the parent as lines, so that it can kill at a point of its choice
                var model = new ToyModel();
                JobResult result = await new EmbeddedFarm(model).RunAsync(
                    Run.Spec(prompts, outFolder), new FarmOptions { Slots = int.Parse(slots) }, new Lines(), CancellationToken.None);
                Console.WriteLine($"done {result.Progress.Resumed} {result.Stats.Images}");
                return result.ExitCode;
            case ["plan", var prompts, var outFolder]:
                JobPlanSummary plan = await new EmbeddedFarm(new ToyModel()).PlanAsync(
                    Run.Spec(prompts, outFolder), new FarmOptions(), CancellationToken.None);
                string peak = File.ReadLines("/proc/self/status").First(line => line.StartsWith("VmHWM:", StringComparison.Ordinal));
                Console.WriteLine($"{plan.Prompts} {plan.UniquePrompts} {plan.Images} {peak.Split(' ', StringSplitOptions.RemoveEmptyEntries)[1]}");
                return 0;
            case ["head", var dataFolder, var prompts]:
                await HeadChild.RunAsync(dataFolder, prompts);
                return 0;
            case ["million", var dataFolder, var prompts]:
                await HeadChild.TakeAsync(dataFolder, prompts);
                return 0;
            case ["journal", var path]:
                JournalChild.WriteJournal(path);
                return 0;
            case ["lease", var path]:
                await JournalChild.LeaseAndWaitAsync(path);
                return 0;
            default:
                Console.Error.WriteLine("this is a test project: run it with dotnet test");
                return 2;
        }
    }

    private sealed class Lines : IProgress<JobProgress>
    {
        public void Report(JobProgress value)
        {
            if (value.State != JobState.Planning) // what is there is counted after it
            {
                Console.WriteLine($"written {value.Written} {value.Resumed}");
            }
        }
    }
}
