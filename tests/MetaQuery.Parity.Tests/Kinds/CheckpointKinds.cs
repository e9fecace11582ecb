using System.Text.Json;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>Well-formed checkpoints, single and in shards: every value, bit for bit; or sums, where the case has only those.</summary>
public sealed class CheckpointKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["checkpoint"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var weights = HuggingFaceFolder.Open(parityCase.Folder).OpenWeights();
        if (parityCase.Json.TryGetProperty("metadata", out var metadata))
            CheckpointValues.Metadata(report, weights, metadata);
        if (parityCase.Json.TryGetProperty("tensors", out var tensors))
            Descriptions(report, weights, tensors);
        if (parityCase.Has("expected.safetensors"))
            Values(report, weights, parityCase.PathOf("expected.safetensors"));
        if (parityCase.Json.TryGetProperty("checksums", out var checksums))
            Checksums(report, weights, checksums, parityCase.Tolerance());
    }

    static void Descriptions(ParityReport report, WeightSource weights, JsonElement tensors)
    {
        report.Exact("names", [.. weights.Keys.Order(StringComparer.Ordinal)], [.. tensors.EnumerateObject().Select(tensor => tensor.Name).Order(StringComparer.Ordinal)]);
        foreach (var tensor in tensors.EnumerateObject())
        {
            var info = weights.Describe(tensor.Name);
            report.Exact($"{tensor.Name} dtype", info.StoredType, CheckpointValues.StoredType(tensor.Value.GetProperty("dtype").GetString()!));
            report.Exact($"{tensor.Name} shape", info.Shape, [.. tensor.Value.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64())]);
        }
    }

    static void Values(ParityReport report, WeightSource weights, string expectedPath)
    {
        using var expected = SafetensorsFile.Open(expectedPath);
        report.Exact("names", [.. weights.Keys.Order(StringComparer.Ordinal)], [.. expected.Keys.Order(StringComparer.Ordinal)]);
        foreach (string key in expected.Keys)
        {
            var kept = weights.Describe(key).Dtype is ScalarType.Int64 or ScalarType.Float64 ? weights.Describe(key).Dtype : ScalarType.Float32;
            using var actual = weights.Load(key, kept);
            using var wanted = expected.Load(key);
            report.Exact($"{key} shape", actual.shape, wanted.shape);
            report.Exact($"{key} dtype", actual.dtype.ToString(), wanted.dtype.ToString());
            report.Exact(key, CheckpointValues.Bits(actual), CheckpointValues.Bits(wanted));
        }
    }

    static void Checksums(ParityReport report, WeightSource weights, JsonElement checksums, ParityTolerance tolerance)
    {
        report.Exact("names", [.. weights.Keys.Order(StringComparer.Ordinal)], [.. checksums.EnumerateObject().Select(sum => sum.Name).Order(StringComparer.Ordinal)]);
        foreach (var sums in checksums.EnumerateObject())
        {
            using var tensor = weights.Load(sums.Name, ScalarType.Float64);
            double[] values = [.. tensor.data<double>()];
            report.Close($"{sums.Name} sum", values.Sum(), sums.Value[0].GetDouble(), tolerance);
            report.Close($"{sums.Name} sum of absolute values", values.Sum(Math.Abs), sums.Value[1].GetDouble(), tolerance);
        }
    }
}

/// <summary>Odd but legal files: each loads, with these values and nothing else.</summary>
public sealed class UnusualCheckpointKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["checkpoint-unusual"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        foreach (var file in parityCase.Json.GetProperty("cases").EnumerateArray())
        {
            string name = file.GetProperty("file").GetString()!;
            using var weights = SafetensorsFile.Open(parityCase.PathOf(name));
            var values = file.GetProperty("values");
            report.Exact($"{name} names", [.. weights.Keys.Order(StringComparer.Ordinal)], [.. values.EnumerateObject().Select(value => value.Name).Order(StringComparer.Ordinal)]);
            if (file.TryGetProperty("metadata", out var metadata))
                CheckpointValues.Metadata(report, weights, metadata);
            foreach (var value in values.EnumerateObject())
            {
                using var tensor = weights.Load(value.Name, ScalarType.Float32);
                report.Exact($"{name} {value.Name} shape", tensor.shape, [.. value.Value.GetProperty("shape").EnumerateArray().Select(size => size.GetInt64())]);
                report.Exact($"{name} {value.Name}", [.. tensor.data<float>()], [.. value.Value.GetProperty("float32").EnumerateArray().Select(number => number.GetSingle())]);
            }
        }
    }
}

/// <summary>Malformed files and folders: each is refused, quickly, in one line that names the file, with little memory.</summary>
public sealed class MalformedCheckpointKind : IParityKind
{
    const long SpareBytes = 16 << 20;

    public IReadOnlyList<string> Kinds => ["checkpoint-malformed"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        foreach (var malformed in parityCase.Json.GetProperty("cases").EnumerateArray())
        {
            bool isFolder = malformed.TryGetProperty("folder", out var folder);
            string name = isFolder ? folder.GetString()! : malformed.GetProperty("file").GetString()!;
            string path = parityCase.PathOf(name);
            long bytes = isFolder ? Directory.GetFiles(path).Sum(file => new FileInfo(file).Length) : new FileInfo(path).Length;
            long before = GC.GetAllocatedBytesForCurrentThread();
            string? message = Refusal(path, isFolder, out var elapsed);
            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            report.That($"{name} is refused", message is not null, $"it was read without an error ({malformed.GetProperty("why").GetString()})");
            report.That($"{name} is named in one line", message is null || (message.Contains(name, StringComparison.Ordinal) && !message.ContainsAny('\n', '\r')), $"the message is: {message}");
            report.That($"{name} in a second", elapsed < TimeSpan.FromSeconds(1), $"it took {elapsed}");
            report.That($"{name} in little memory", allocated <= (4 * bytes) + SpareBytes, $"{allocated} bytes were allocated for a file of {bytes}");
        }
    }

    static string? Refusal(string path, bool isFolder, out TimeSpan used)
    {
        // Processor time, so that a busy machine does not fail a case.
        var start = Environment.CpuUsage.TotalTime;
        try
        {
            using WeightSource weights = isFolder ? ShardedSafetensors.Open(path) : SafetensorsFile.Open(path);
            foreach (string key in weights.Keys)
                weights.Load(key).Dispose();
            return null;
        }
        catch (CheckpointException e)
        {
            return e.Message;
        }
        finally
        {
            used = Environment.CpuUsage.TotalTime - start;
        }
    }
}
