using System.Text.RegularExpressions;

namespace MetaQuery.Architecture.Tests;

/// <summary>A leaked native tensor fails the test that leaked it: every class that may touch tensors says so.</summary>
public sealed partial class LeakCheckTests
{
    private static readonly string[] RoomsWithTensors = ["Torch", "Models", "Sampling", "Pipelines", "Parity"];

    [Fact]
    public void Every_file_of_tests_in_a_room_with_tensors_checks_for_leaks() =>
        Assert.Empty(
            from room in RoomsWithTensors
            from file in Repository.Files
            where file.StartsWith($"tests/MetaQuery.{room}.Tests/", StringComparison.Ordinal) && file.EndsWith(".cs", StringComparison.Ordinal)
            let text = Repository.Read(file)
            where Test().IsMatch(text) && !text.Contains("[LeakCheck]", StringComparison.Ordinal)
                && !text.Contains("Tensor.TotalCount", StringComparison.Ordinal) // counts by itself, per case
            select file);

    [GeneratedRegex(@"^\s*\[(Fact|Theory|Property|ParityTheory)\b", RegexOptions.Multiline)]
    private static partial Regex Test();
}
