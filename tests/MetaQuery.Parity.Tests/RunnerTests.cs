using MetaQuery.TestKit;
using TorchSharp;

namespace MetaQuery.Parity.Tests;

/// <summary>The runner itself: what must not pass does not pass.</summary>
[LeakCheck]
public sealed class RunnerTests : IDisposable
{
    private static readonly ParityTolerance Tolerance = new(1e-3, 1e-2);

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("parity-");
    private readonly ParityReport _report = new();

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public void The_largest_error_is_reported_as_a_share_of_its_tolerance()
    {
        _report.Close("first", [1.0f, 100.0f], [1.0f, 100.5f], Tolerance);
        _report.Close("second", [0f], [0f], Tolerance);
        Assert.True(_report.Passed);
        Assert.Equal("first", _report.LargestAt);
        Assert.Equal(0.5 / (1e-3 + (1e-2 * 100.5)), _report.LargestShare, 1e-6);
    }

    [Fact]
    public void An_error_beyond_the_tolerance_fails_and_says_where()
    {
        _report.Close("hidden", [1f, 2f, 3f, 4f], [2, 2], [1f, 2f, 3f, 5f], [2, 2], Tolerance);
        Assert.False(_report.Passed);
        Assert.Contains("hidden: at [1, 1]: 4, expected 5", Assert.Single(_report.Failures));
    }

    [Theory]
    [InlineData(float.NaN, 1f)]
    [InlineData(1f, float.NaN)]
    [InlineData(float.NaN, float.NaN)]
    [InlineData(float.PositiveInfinity, 1f)]
    [InlineData(1f, float.PositiveInfinity)]
    [InlineData(float.NegativeInfinity, float.PositiveInfinity)]
    public void What_is_not_a_number_never_agrees(float actual, float expected)
    {
        _report.Close("velocity", [actual], [expected], new ParityTolerance(1e9, 1e9));
        Assert.False(_report.Passed);
    }

    [Fact]
    public void Another_shape_fails_even_with_the_same_elements()
    {
        _report.Close("condition", [1f, 2f], [1, 2], [1f, 2f], [2, 1], Tolerance);
        Assert.False(_report.Passed);
        Assert.Contains("shape [1, 2], expected [2, 1]", Assert.Single(_report.Failures));
    }

    [Fact]
    public void A_tolerance_of_nothing_asks_for_equality()
    {
        _report.Close("same", [1f], [1f], ParityTolerance.Exact);
        Assert.True(_report.Passed);
        _report.Close("other", [1f], [float.BitIncrement(1f)], ParityTolerance.Exact);
        Assert.False(_report.Passed);
    }

    [Fact]
    public void Exact_values_must_agree_in_number_and_in_each_place()
    {
        _report.Exact("ids", [1L, 2L], [1L, 2L]);
        Assert.True(_report.Passed);
        _report.Exact("ids", [1L, 2L], [1L, 3L]);
        _report.Exact("ids", [1L], [1L, 2L]);
        Assert.Equal(2, _report.Failures.Count);
    }

    [Fact]
    public void A_case_that_compares_nothing_has_failed()
    {
        _report.Skip("images", "vision is not built");
        Assert.False(_report.Passed);
        Assert.Contains("nothing was compared", _report.ToString());
        Assert.Contains("images: vision is not built", _report.ToString());
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("{\"kind\": 3}")]
    public void A_malformed_case_is_found_with_its_error(string json)
    {
        Write("bad", json);
        var entry = Assert.Single(ParityCatalog.Find(_folder.FullName, typeof(RunnerTests).Assembly));
        Assert.NotNull(entry.Error);
        Assert.Contains(Path.Combine("bad", "case.json"), entry.Error);
    }

    [Fact]
    public void A_kind_without_a_class_is_not_covered_by_name()
    {
        Write("deep/er", "{\"kind\": \"no-such-kind\"}");
        var entry = Assert.Single(ParityCatalog.Find(_folder.FullName, typeof(RunnerTests).Assembly));
        Assert.Equal("deep/er", entry.Name);
        Assert.Contains("no-such-kind", entry.NotCovered);
    }

    [Fact]
    public void A_folder_without_cases_is_an_error()
    {
        Assert.Throws<ParityCaseException>(() => ParityCatalog.Find(_folder.FullName, typeof(RunnerTests).Assembly));
        Assert.Throws<ParityCaseException>(() => ParityCatalog.Find(_folder.FullName + "-missing", typeof(RunnerTests).Assembly));
    }

    [Fact]
    public void A_tolerance_is_that_of_the_nearest_part_which_states_one()
    {
        Write("one", """{"kind": "x", "tolerance": {"atol": 1, "rtol": 2, "intermediates": {"atol": 3, "rtol": 4}, "ids": "exact"}}""");
        using var parityCase = ParityCase.Open(Path.Combine(_folder.FullName, "one"), "one");
        Assert.Equal(new ParityTolerance(1, 2), parityCase.Tolerance());
        Assert.Equal(new ParityTolerance(1, 2), parityCase.Tolerance("sample"));
        Assert.Equal(new ParityTolerance(3, 4), parityCase.Tolerance("intermediates", "block"));
        Assert.Equal(ParityTolerance.Exact, parityCase.Tolerance("ids"));
    }

    [Fact]
    public void Tensors_are_compared_by_shape_and_value_and_exact_ones_by_dtype_too()
    {
        using var scope = torch.NewDisposeScope();
        var tensor = torch.tensor([1f, 2f, 3f, 4f]).view(2, 2);
        _report.Close("same", tensor.transpose(0, 1), torch.tensor([1f, 3f, 2f, 4f]).view(2, 2), 0, 0);
        _report.Exact("same ids", torch.tensor([1L, 2L]), torch.tensor([1L, 2L]));
        Assert.True(_report.Passed, string.Join("; ", _report.Failures));
        _report.Close("shape", tensor, tensor.view(4), Tolerance);
        _report.Close("value", tensor, tensor + 1f, Tolerance);
        _report.Exact("ids", torch.tensor([1L, 2L]), torch.tensor([1L, 3L]));
        _report.Exact("dtype", torch.tensor([1L]), torch.tensor([1f]));
        Assert.Equal(4, _report.Failures.Count);
    }

    private void Write(string name, string json)
    {
        var folder = _folder.CreateSubdirectory(name);
        File.WriteAllText(Path.Combine(folder.FullName, "case.json"), json);
    }
}
