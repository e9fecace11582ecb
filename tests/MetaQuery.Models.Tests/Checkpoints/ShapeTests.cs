using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;

namespace MetaQuery.Models.Tests.Checkpoints;

/// <summary>Sources that note what a model asks for.</summary>
[LeakCheck]
public sealed class ShapeTests
{
    [Fact]
    public void Layers_that_are_loaded_side_by_side_are_all_noted_and_listed_by_name()
    {
        // a dictionary without a lock loses some of these, or throws, in nearly every run
        var recorder = new ShapeRecorder();
        using var probe = new ShapeProbe(recorder);
        string[] names = [.. Enumerable.Range(0, 4000).Select(i => $"layers.{i:d4}.weight")];
        Parallel.ForEach(names, name =>
        {
            recorder.Load(name, [2, 3]).Dispose();
            probe.Load(name, [2, 3]).Dispose();
        });
        Assert.Equal(names, recorder.Asked.Select(asked => asked.Key));
        Assert.Equal(names, probe.Asked.Keys);
    }
}
