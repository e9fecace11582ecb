using System.Globalization;
using System.Numerics;

namespace MetaQuery.TestKit;

/// <summary>What a case found: the largest error of each comparison as a share of its tolerance. A share above 1 is a failure.</summary>
public sealed partial class ParityReport
{
    private readonly List<string> _failures = [];
    private readonly List<string> _skipped = [];

    /// <summary>How many comparisons were made. A case that compares nothing has failed.</summary>
    public int Comparisons { get; private set; }

    /// <summary>The largest error of all comparisons as a share of its tolerance; 0 where everything is exactly equal.</summary>
    public double LargestShare { get; private set; }

    /// <summary>The comparison that <see cref="LargestShare"/> belongs to.</summary>
    public string LargestAt { get; private set; } = "";

    public IReadOnlyList<string> Failures => _failures;

    /// <summary>The parts that were left out, each with its reason.</summary>
    public IReadOnlyList<string> Skipped => _skipped;

    public bool Passed => Comparisons > 0 && _failures.Count == 0;

    /// <summary>Leaves a part of the case out, for a stated reason. It is listed, and the case still fails if nothing else is compared.</summary>
    public void Skip(string what, string why) => _skipped.Add($"{what}: {why}");

    /// <summary>Compares element by element. A NaN, an infinity that is not expected, or another shape fails.</summary>
    public void Close(
        string what,
        ReadOnlySpan<float> actual,
        ReadOnlySpan<long> actualShape,
        ReadOnlySpan<float> expected,
        ReadOnlySpan<long> expectedShape,
        ParityTolerance tolerance)
    {
        if (SameShape(what, actual.Length, actualShape, expected.Length, expectedShape))
        {
            Compare(what, actual, expected, expectedShape, tolerance);
        }
    }

    /// <inheritdoc cref="Close(string, ReadOnlySpan{float}, ReadOnlySpan{long}, ReadOnlySpan{float}, ReadOnlySpan{long}, ParityTolerance)"/>
    public void Close(string what, ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, ParityTolerance tolerance) =>
        Close(what, actual, [actual.Length], expected, [expected.Length], tolerance);

    /// <inheritdoc cref="Close(string, ReadOnlySpan{float}, ReadOnlySpan{long}, ReadOnlySpan{float}, ReadOnlySpan{long}, ParityTolerance)"/>
    public void Close(string what, ReadOnlySpan<double> actual, ReadOnlySpan<double> expected, ParityTolerance tolerance)
    {
        if (SameShape(what, actual.Length, [actual.Length], expected.Length, [expected.Length]))
        {
            Compare(what, actual, expected, [expected.Length], tolerance);
        }
    }

    /// <inheritdoc cref="Close(string, ReadOnlySpan{float}, ReadOnlySpan{long}, ReadOnlySpan{float}, ReadOnlySpan{long}, ParityTolerance)"/>
    public void Close(string what, double actual, double expected, ParityTolerance tolerance) =>
        Close(what, [actual], [expected], tolerance);

    /// <summary>Every element equal, as many of them.</summary>
    public void Exact<T>(string what, ReadOnlySpan<T> actual, ReadOnlySpan<T> expected)
        where T : IEquatable<T>
    {
        if (!SameShape(what, actual.Length, [actual.Length], expected.Length, [expected.Length]))
        {
            return;
        }

        var same = actual.CommonPrefixLength(expected);
        Record(what, same == expected.Length
            ? 0
            : Fail(what, $"at {same} of {expected.Length}: {actual[same]}, expected {expected[same]}"));
    }

    /// <inheritdoc cref="Exact{T}(string, ReadOnlySpan{T}, ReadOnlySpan{T})"/>
    public void Exact<T>(string what, IReadOnlyList<T> actual, IReadOnlyList<T> expected)
        where T : IEquatable<T> => Exact(what, new ReadOnlySpan<T>([.. actual]), new ReadOnlySpan<T>([.. expected]));

    public void Exact(string what, string? actual, string? expected) =>
        Record(what, string.Equals(actual, expected, StringComparison.Ordinal)
            ? 0
            : Fail(what, $"{Quote(actual)}, expected {Quote(expected)}"));

    /// <summary>A condition of the case that is not a number: an error that must be thrown, a file that must be refused.</summary>
    public void That(string what, bool holds, string otherwise) => Record(what, holds ? 0 : Fail(what, otherwise));

    /// <summary>One line per case of the summary.</summary>
    public override string ToString()
    {
        var skipped = _skipped.Count == 0 ? "" : $"; not covered in it: {string.Join("; ", _skipped)}";
        if (Comparisons == 0)
        {
            return $"failed: nothing was compared{skipped}";
        }

        var share = LargestShare.ToString("0.####", CultureInfo.InvariantCulture);
        return _failures.Count == 0
            ? $"passed: largest error {share} of its tolerance{(LargestShare > 0 ? $" ({LargestAt})" : "")}, {Comparisons} comparisons{skipped}"
            : $"failed: largest error {share} of its tolerance ({LargestAt}), {_failures.Count} of {Comparisons} comparisons{skipped}";
    }

    private void Compare<T>(
        string what, ReadOnlySpan<T> actual, ReadOnlySpan<T> expected, ReadOnlySpan<long> shape, ParityTolerance tolerance)
        where T : struct, IFloatingPointIeee754<T>
    {
        var (largest, at) = (0.0, -1);
        for (var i = 0; i < expected.Length; i++)
        {
            var (got, wanted) = (double.CreateChecked(actual[i]), double.CreateChecked(expected[i]));
            if (got == wanted)
            {
                continue; // equal infinities too
            }

            var share = Math.Abs(got - wanted) / (tolerance.Atol + (tolerance.Rtol * Math.Abs(wanted)));
            share = double.IsNaN(share) ? double.PositiveInfinity : share;
            if (share > largest)
            {
                (largest, at) = (share, i);
            }
        }

        Record(what, largest);
        if (largest > 1)
        {
            _ = Fail(what, $"at {Position(at, shape)}: {actual[at]:g9}, expected {expected[at]:g9}, "
                + $"{largest:0.##} of the tolerance (atol {tolerance.Atol:g}, rtol {tolerance.Rtol:g})");
        }
    }

    private bool SameShape(string what, int actualCount, ReadOnlySpan<long> actual, int expectedCount, ReadOnlySpan<long> expected)
    {
        if (actualCount == expectedCount && actual.SequenceEqual(expected))
        {
            return true;
        }

        Record(what, Fail(what, $"shape [{string.Join(", ", actual.ToArray())}], expected [{string.Join(", ", expected.ToArray())}]"));
        return false;
    }

    private void Record(string what, double share)
    {
        Comparisons++;
        if (share > LargestShare)
        {
            (LargestShare, LargestAt) = (share, what);
        }
    }

    private double Fail(string what, string why)
    {
        _failures.Add($"{what}: {why}");
        return double.PositiveInfinity;
    }

    private static string Position(int flat, ReadOnlySpan<long> shape)
    {
        var index = new long[shape.Length];
        for (long axis = shape.Length - 1, rest = flat; axis >= 0; axis--)
        {
            (rest, index[axis]) = Math.DivRem(rest, shape[(int)axis]);
        }

        return $"[{string.Join(", ", index)}]";
    }

    private static string Quote(string? text) => text is null ? "nothing" : $"\"{(text.Length <= 200 ? text : text[..200] + "…")}\"";
}
