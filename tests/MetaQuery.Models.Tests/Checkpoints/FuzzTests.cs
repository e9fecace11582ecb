using System.Diagnostics;
using System.Globalization;
using FsCheck;
using FsCheck.Fluent;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using Xunit.Abstractions;

namespace MetaQuery.Models.Tests.Checkpoints;

/// <summary>Spoiled files: whatever they say, they are read in full or refused with a reason, at once and in little memory.</summary>
[LeakCheck]
public sealed class FuzzTests(ITestOutputHelper output)
{
    const int Mutations = 24_000;
    const long SpareBytes = 16 << 20;

    /// <summary>The file a mutated one may be decoded to: four bits become a float32, plus scales.</summary>
    const int LargestGrowth = 8;

    const string SeedVariable = "METAQUERY_FUZZ_SEED";

    static readonly TimeSpan Longest = TimeSpan.FromSeconds(1);

    [Fact]
    public void A_mutated_file_is_read_in_full_or_refused_with_a_reason()
    {
        var files = Files();
        ulong seed = Environment.GetEnvironmentVariable(SeedVariable) is { Length: > 0 } text ? ulong.Parse(text, CultureInfo.InvariantCulture) : (ulong)Random.Shared.NextInt64();
        output.WriteLine($"{SeedVariable}={seed} repeats this run");
        foreach (var file in files)
            Assert.Null(Check(file, file.Bytes, out bool isRead) ?? (isRead ? null : $"{file.Name}: the file itself is not read"));

        var edit = Gen.Choose(int.MinValue, int.MaxValue).Two().Select(pair => ((uint)pair.Item1, (uint)pair.Item2));
        var mutations =
            from file in Gen.Choose(0, files.Count - 1)
            from isStructureAware in Gen.Elements(true, false)
            from count in Gen.Frequency((6, Gen.Constant(1)), (3, Gen.Constant(2)), (1, Gen.Choose(3, 6)))
            from edits in edit.ArrayOf(count)
            from keepsLength in Gen.Frequency((4, Gen.Constant(true)), (1, Gen.Constant(false)))
            select new FuzzMutation(file, isStructureAware, edits, keepsLength);
        int read = 0, refused = 0, aware = 0;
        FuzzMutation? current = null;
        Exception? failure = null;
        var worker = new Thread(() =>
        {
            try
            {
                var property = Prop.ForAll(Arb.From(mutations, Fewer), mutation =>
                {
                    current = mutation;
                    var file = files[mutation.File];
                    string? complaint = Check(file, FuzzMutator.Apply(mutation, file), out bool isRead);
                    _ = isRead ? read++ : refused++;
                    aware += mutation.IsStructureAware ? 1 : 0;
                    return complaint is null ? true : throw new Xunit.Sdk.XunitException(complaint);
                });
                FsCheck.Check.One(Config.QuickThrowOnFailure.WithMaxTest(Mutations).WithReplay(seed, 1), property);
            }
            catch (Exception e)
            {
                failure = e;
            }
        });
        worker.Start();
        Assert.True(worker.Join(TimeSpan.FromMinutes(2)), $"a mutation did not come to an end: {current} with {SeedVariable}={seed}");
        Assert.True(failure is null, $"{SeedVariable}={seed}: {failure?.Message}");
        output.WriteLine($"{read} read, {refused} refused, {aware} of {read + refused} structure-aware");
        Assert.True(read > Mutations / 50, $"{read} of {Mutations} mutated files could be read: the mutations no longer reach past the header");
        Assert.True(aware >= 0.45 * Mutations, $"{aware} of {Mutations} mutations were structure-aware");
    }

    static IEnumerable<FuzzMutation> Fewer(FuzzMutation mutation) => mutation.Edits.Length == 1 ? []
        : Enumerable.Range(0, mutation.Edits.Length).Select(i => mutation with { Edits = [.. mutation.Edits[..i], .. mutation.Edits[(i + 1)..]] });

    /// <summary>What is wrong with how a file was handled, or null.</summary>
    static string? Check(FuzzFile file, byte[] bytes, out bool isRead, bool isRepeated = false)
    {
        isRead = false;
        long before = GC.GetAllocatedBytesForCurrentThread();
        long start = Stopwatch.GetTimestamp();
        string? complaint = null;
        try
        {
            using WeightSource source = file.IsGguf ? GgufFile.Parse("mutated", bytes) : SafetensorsFile.Parse("mutated", bytes);
            complaint = ReadAll(source, bytes.Length);
            isRead = true;
        }
        catch (CheckpointException e)
        {
            if (!e.Message.StartsWith("mutated: ", StringComparison.Ordinal) || e.Message.Length < 20 || e.Message.AsSpan().ContainsAny('\n', '\r'))
                complaint = $"the error does not name file and reason in one line: {e.Message}";
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            complaint = $"an exception of another type: {e}";
        }
        var elapsed = Stopwatch.GetElapsedTime(start);
        if (elapsed > Longest && !isRepeated)
            return Check(file, bytes, out isRead, isRepeated: true); // a machine that paused does not do so twice in the same place
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        if (elapsed > Longest)
            complaint ??= $"it took {elapsed}";
        if (allocated > (4L * bytes.Length) + SpareBytes)
            complaint ??= $"{allocated} bytes were allocated for {bytes.Length}";
        return complaint is null ? null : $"{file.Name}: {complaint}";
    }

    static string? ReadAll(WeightSource source, int fileBytes)
    {
        if (source is GgufFile gguf)
        {
            foreach (var value in gguf.Metadata.Values)
                Touch(value);
        }
        foreach (string key in source.Keys)
        {
            using var tensor = source.Load(key);
            long bytes = tensor.numel() * tensor.ElementSize;
            if (bytes > LargestGrowth * (long)fileBytes)
                return $"{key} has {bytes} bytes, the whole file {fileBytes}";
        }
        return null;
    }

    static void Touch(GgufValue value)
    {
        if (value.Type != GgufValueType.Array)
            _ = value.ToString();
        else if (value.ElementType == GgufValueType.String)
            _ = value.AsStrings();
        else
            foreach (var element in value.AsArray())
                Touch(element);
    }

    static List<FuzzFile> Files()
    {
        string checkpoints = Path.Combine(RepositoryFolders.VisibleFixtures, "diffusion", "checkpoints");
        List<FuzzFile> files =
        [
            .. new[] { "single/model", "sharded/model-00002-of-00003", "unusual/unaligned-data", "unusual/many-dimensions", "unusual/only-metadata", "unusual/empty-between" }
                .Select(name => new FuzzFile(name, File.ReadAllBytes(Path.Combine(checkpoints, $"{name}.safetensors")), IsGguf: false, [])),
        ];
        foreach (var (name, builder) in new[] { ("all GGUF types", GgufSamples.EveryType()), ("the first rows of Nano's language model", GgufSamples.CutFromNano()) })
        {
            byte[] bytes = builder.Build();
            files.Add(new FuzzFile(name, bytes, IsGguf: true, builder.Fields));
        }
        return [.. files, .. Enumerable.Repeat(files.Where(file => file.IsGguf), 2).SelectMany(gguf => gguf)]; // both formats about as often
    }
}
