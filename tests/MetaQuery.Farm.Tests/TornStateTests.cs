using MetaQuery.Data;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests;

/// <summary>Every state that a death at some instruction can leave, made by hand: all end with the same bytes.</summary>
public sealed class TornStateTests : IDisposable
{
    private readonly Workspace _work = new();

    public void Dispose() => _work.Dispose();

    private static readonly Dictionary<string, Action<string, string>> States = new()
    {
        ["nothing but the lock"] = (folder, _) => Keep(folder, ".farm/lock"),
        ["job.json without a manifest"] = (folder, _) => Keep(folder, ".farm/lock", "job.json"),
        ["a manifest with its header alone"] = (folder, _) => File.WriteAllLines(In(folder, "manifest.jsonl"), File.ReadAllLines(In(folder, "manifest.jsonl")).Take(1)),
        ["half a manifest line"] = (folder, _) => File.AppendAllText(In(folder, "manifest.jsonl"), """{"shard":"0000"""),
        ["a shard's partial file"] = (folder, _) => File.WriteAllBytes(In(folder, ".00001.tar.partial-0123456789ab"), new byte[700]),
        ["a whole shard without its manifest line"] = (folder, whole) =>
        {
            string next = Directory.EnumerateFiles(whole, "*.tar").Select(path => Path.GetFileName(path)).Order(StringComparer.Ordinal)
                .First(name => !File.Exists(In(folder, name)));
            File.Copy(In(whole, next), In(folder, next));
        },
        ["a finished shard's spool not removed yet"] = (folder, _) => File.WriteAllBytes(In(folder, ".farm/00000.spool"), [1, 2, 3]),
        ["a torn spool"] = (folder, _) => ForSpools(folder, stream => stream.SetLength(stream.Length * 2 / 3)),
        ["a spool with a wrong byte"] = (folder, _) => ForSpools(folder, stream =>
        {
            stream.Position = stream.Length / 2;
            stream.WriteByte(0xA5);
        }),
        ["a spool that is empty"] = (folder, _) => ForSpools(folder, stream => stream.SetLength(0)),
        ["a spool of zeros, as some file systems leave after a loss of power"] = (folder, _) => ForSpools(folder, stream =>
        {
            long length = stream.Length;
            stream.SetLength(length / 2);
            stream.SetLength(length);
        }),
        ["no contact sheet samples"] = (folder, _) => File.Delete(In(folder, ".farm/contact-sheet.spool")),
        ["damaged conditions"] = (folder, _) => Directory.EnumerateFiles(In(folder, ".farm/conditions")).ToList().ForEach(path => File.WriteAllText(path, "MQCD?")),
        ["a failure list of a shard that has no manifest line"] = (folder, _) => File.WriteAllText(In(folder, "00003_failed.jsonl"), "{}\n"),
        ["a failure list of a shard whose last line has no failures"] = (folder, _) => File.WriteAllText(In(folder, "00000_failed.jsonl"), "{}\n"),
    };

    public static TheoryData<string> StateNames => [.. States.Keys];

    [Theory]
    [MemberData(nameof(StateNames))]
    public void A_job_goes_on_from(string state)
    {
        string prompts = _work.Write("prompts.jsonl", Run.MixedLines);
        Run.Job(new ToyModel(), Run.Spec(prompts, _work["whole"]));
        int calls = 0;
        using var cancel = new CancellationTokenSource();
        var model = new ToyModel
        {
            BeforeDenoise = (_, _) =>
            {
                if (++calls == 6)
                {
                    cancel.Cancel();
                }
            },
        };
        JobResult stopped = Run.Job(model, Run.Spec(prompts, _work["out"]), new FarmOptions(), cancel.Token);
        Assert.Equal(JobState.Cancelled, stopped.State);
        Assert.NotEmpty(Directory.EnumerateFiles(_work["out"], "*.tar"));
        Assert.NotEmpty(Spools(_work["out"]));

        States[state](_work["out"], _work["whole"]);
        JobResult result = Run.Job(new ToyModel(), Run.Spec(prompts, _work["out"]));
        Assert.Equal(JobState.Completed, result.State);
        Assert.Equal(Workspace.HashOutput(_work["whole"]), Workspace.HashOutput(_work["out"]));
        Assert.Empty(Directory.EnumerateFiles(_work["out"], ".*"));
    }

    [Fact]
    public void Death_after_the_last_shard_leaves_sheet_and_statistics_to_the_next_run()
    {
        string prompts = _work.Write("prompts.jsonl", Run.MixedLines);
        Run.Job(new ToyModel(), Run.Spec(prompts, _work["whole"]));
        Run.Job(new ToyModel(), Run.Spec(prompts, _work["out"]));
        File.Delete(_work["out/contact-sheet.png"]);
        File.Delete(_work["out/_stats.json"]);
        var model = new ToyModel();
        Run.Job(model, Run.Spec(prompts, _work["out"]));
        Assert.Empty(model.Denoised);
        Assert.True(File.Exists(_work["out/_stats.json"]));
        Assert.Equal(Workspace.HashOutput(_work["whole"]), Workspace.HashOutput(_work["out"]));
    }

    private static string In(string folder, string name) => Path.Combine(folder, name);

    private static IEnumerable<string> Spools(string folder) => Directory.EnumerateFiles(In(folder, OutFolder.WorkFolderName), "0*.spool");

    private static void ForSpools(string folder, Action<FileStream> damage)
    {
        foreach (string path in Spools(folder))
        {
            using FileStream stream = File.Open(path, FileMode.Open);
            damage(stream);
        }
    }

    private static void Keep(string folder, params string[] names)
    {
        string[] kept = [.. names.Select(name => In(folder, name))];
        foreach (string path in Directory.EnumerateFiles(folder, "*", SearchOption.AllDirectories).Except(kept).ToList())
        {
            File.Delete(path);
        }
    }
}
