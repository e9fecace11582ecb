namespace MetaQuery.Architecture.Tests;

/// <summary>Which room may depend on which: docs/architecture.md draws the same arrows.</summary>
public sealed class ArrowTests
{
    private static readonly Dictionary<string, string[]> Arrows = new(StringComparer.Ordinal)
    {
        ["MetaQuery.Torch"] = [],
        ["MetaQuery.Kernels"] = ["MetaQuery.Torch"],
        ["MetaQuery.Tokenizers"] = [],
        ["MetaQuery.Imaging"] = [],
        ["MetaQuery.Models"] = ["MetaQuery.Kernels", "MetaQuery.Torch"],
        ["MetaQuery.Sampling"] = ["MetaQuery.Torch"],
        ["MetaQuery.Pipelines"] = ["MetaQuery.Imaging", "MetaQuery.Models", "MetaQuery.Sampling", "MetaQuery.Tokenizers"],
        ["MetaQuery.Data"] = ["MetaQuery.Imaging"],
        ["MetaQuery.Farm"] = ["MetaQuery.Data"],
        ["MetaQuery.Redis"] = ["MetaQuery.Farm"],
        ["MetaQuery.Client"] = [],
        ["MetaQuery.Silo"] = ["MetaQuery.Client", "MetaQuery.Farm", "MetaQuery.Pipelines", "MetaQuery.Redis"],
        ["MetaQuery.Orleans"] = ["MetaQuery.Farm", "MetaQuery.Redis", "MetaQuery.Silo"],
        ["MetaQuery.Cli"] = ["MetaQuery.Client", "MetaQuery.Orleans", "MetaQuery.Silo"],
        ["MetaQuery.Chaos"] = ["MetaQuery.Cli"],
        ["MetaQuery.Benchmarks"] = ["MetaQuery.Chaos", "MetaQuery.Orleans", "MetaQuery.Silo"],
    };

    public static TheoryData<string> Rooms() =>
        [.. Repository.ProjectReferences.Keys.Where(project => !IsTest(project)).Order(StringComparer.Ordinal)];

    [Theory]
    [MemberData(nameof(Rooms))]
    public void A_room_refers_to_exactly_the_rooms_its_arrows_name(string room)
    {
        Assert.True(Arrows.TryGetValue(room, out var allowed), $"{room} has no arrows here: say what it may depend on");
        Assert.Equal(allowed, Repository.ProjectReferences[room]);
    }

    [Fact]
    public void Every_room_with_arrows_exists() =>
        Assert.Empty(Arrows.Keys.Except(Repository.ProjectReferences.Keys, StringComparer.Ordinal));

    [Theory]
    [InlineData("MetaQuery.Farm")]
    [InlineData("MetaQuery.Redis")]
    [InlineData("MetaQuery.Data")]
    [InlineData("MetaQuery.Imaging")]
    [InlineData("MetaQuery.Tokenizers")]
    public void A_room_without_tensors_reaches_no_tensor_library(string room)
    {
        var reached = Reached(room);
        Assert.DoesNotContain("MetaQuery.Torch", reached);
        Assert.DoesNotContain("MetaQuery.Kernels", reached);
        Assert.DoesNotContain(reached.SelectMany(Repository.Packages), package =>
            package.StartsWith("TorchSharp", StringComparison.OrdinalIgnoreCase) || package.StartsWith("libtorch", StringComparison.OrdinalIgnoreCase));
    }

    [Fact]
    public void Nothing_depends_on_a_test() =>
        Assert.All(
            Repository.ProjectReferences.Where(project => !IsTest(project.Key)),
            project => Assert.DoesNotContain(project.Value, IsTest));

    private static bool IsTest(string project) =>
        project.EndsWith(".Tests", StringComparison.Ordinal) || project == "MetaQuery.TestKit";

    private static HashSet<string> Reached(string room)
    {
        var reached = new HashSet<string>(StringComparer.Ordinal);
        var open = new Stack<string>([room]);
        while (open.TryPop(out var next))
        {
            if (reached.Add(next))
            {
                Array.ForEach(Repository.ProjectReferences[next], open.Push);
            }
        }

        return reached;
    }
}
