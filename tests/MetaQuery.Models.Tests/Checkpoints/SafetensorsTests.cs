using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Tests.Checkpoints;

[LeakCheck]
public sealed class SafetensorsTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("metaquery-safetensors-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void A_write_to_a_loaded_tensor_changes_neither_the_file_nor_another_load()
    {
        string path = Write("w.safetensors", SafetensorsBuilder.OneTensor(1, 2, 3, 4));
        byte[] before = File.ReadAllBytes(path);
        using (var file = SafetensorsFile.Open(path))
        {
            using (var tensor = file.Load("w"))
                tensor.fill_(9);
            using var other = SafetensorsFile.Open(path);
            using var again = other.Load("w");
            Assert.Equal([1, 2, 3, 4], [.. again.data<float>()]);
        }
        Assert.Equal(before, File.ReadAllBytes(path));
    }

    [Fact]
    public void A_tensor_outlives_the_file_it_was_loaded_from()
    {
        var file = SafetensorsFile.Open(Write("w.safetensors", SafetensorsBuilder.OneTensor(1, 2, 3, 4)));
        using var tensor = file.Load("w");
        file.Dispose();
        Assert.Equal([1, 2, 3, 4], [.. tensor.data<float>()]);
    }

    [Fact]
    public void Another_shape_than_the_model_needs_is_an_error_with_file_tensor_and_both_shapes()
    {
        using var file = SafetensorsFile.Parse("w.safetensors", SafetensorsBuilder.OneTensor(1, 2, 3));
        var error = Assert.Throws<CheckpointException>(() => file.Load("w", [2, 2]).Dispose());
        Assert.Equal("w.safetensors: tensor \"w\": its shape is [3], the model needs [2, 2]", error.Message);
        Assert.False(error.IsTransient);
    }

    [Fact]
    public void A_missing_tensor_is_named_with_its_prefix()
    {
        using var file = SafetensorsFile.Parse("w.safetensors", SafetensorsBuilder.Build("""{"model.a.w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""", [7]));
        var part = file.WithPrefix("model.").WithPrefix("a.");
        Assert.Equal(["w"], part.Keys);
        Assert.Equal("w", part.Describe("w").Key);
        using var tensor = part.Load("w", [1], ScalarType.Int64);
        Assert.Equal(7, tensor.item<long>());
        var error = Assert.Throws<CheckpointException>(() => part.Load("b").Dispose());
        Assert.Equal("w.safetensors: tensor \"model.a.b\": there is no such tensor in the file", error.Message);
        var misshapen = Assert.Throws<CheckpointException>(() => part.Load("w", [2]).Dispose());
        Assert.Contains("\"model.a.w\"", misshapen.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_shrinks_after_it_was_opened_gives_an_error_rather_than_ending_the_process()
    {
        string path = Write("w.safetensors", SafetensorsBuilder.OneTensor([.. Enumerable.Repeat(1f, 100_000)]));
        using var file = SafetensorsFile.Open(path);
        using (var stream = new FileStream(path, FileMode.Open, FileAccess.Write))
            stream.SetLength(200);
        var error = Assert.Throws<CheckpointException>(() => file.Load("w").Dispose());
        Assert.Contains("bytes when it was opened and has 200 now", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_that_is_replaced_after_it_was_opened_is_still_the_one_that_was_opened()
    {
        string path = Write("w.safetensors", SafetensorsBuilder.OneTensor(1, 2));
        using var file = SafetensorsFile.Open(path);
        File.Move(Write("new.safetensors", SafetensorsBuilder.OneTensor(3)), path, overwrite: true);
        using var tensor = file.Load("w");
        Assert.Equal([1, 2], [.. tensor.data<float>()]);
    }

    [Theory]
    [InlineData("absent.safetensors", "there is no such file")]
    [InlineData("", "a folder, or no permission")]
    public void A_file_that_cannot_be_opened_is_named(string name, string reason)
    {
        var error = Assert.Throws<CheckpointException>(() => SafetensorsFile.Open(Path.Combine(folder, name)).Dispose());
        Assert.StartsWith(folder, error.Message, StringComparison.Ordinal);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("""{"w":{"dtype":"U64","shape":[1],"data_offsets":[0,8]}}""", 8, "the dtype U64 is not supported")]
    [InlineData("""{"w":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}}""", 3, "element 2 is no boolean")]
    public void A_legal_file_with_a_tensor_that_cannot_be_held_opens_and_refuses_that_tensor(string header, int bytes, string reason)
    {
        using var file = SafetensorsFile.Parse("w.safetensors", SafetensorsBuilder.Build(header, [.. new byte[bytes - 1], 2]));
        var error = Assert.Throws<CheckpointException>(() => file.Load("w").Dispose());
        Assert.Contains("tensor \"w\": ", error.Message, StringComparison.Ordinal);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_name_with_a_line_break_still_gives_an_error_of_one_line()
    {
        var error = Assert.Throws<CheckpointException>(() => SafetensorsFile.Parse("w.safetensors", SafetensorsBuilder.Build("""{"a\nb":{"dtype":"U8","shape":[2],"data_offsets":[0,1]}}""", [7])).Dispose());
        Assert.Equal("w.safetensors: tensor \"a\\u000ab\": U8 of shape [2] takes 2 bytes, data_offsets give it 1", error.Message);
    }

    [Fact]
    public void A_header_of_many_tensors_is_read_in_linear_time_and_bounded_memory()
    {
        // Neither names nor ranges may be searched one by one: that would cost 64 times as much for eight times the tensors.
        TimeSpan small = Open(10_000), large = Open(80_000);
        Assert.True(large < 24 * small, $"10,000 tensors took {small} of processor time, 80,000 took {large}");

        static TimeSpan Open(int tensors)
        {
            byte[] bytes = SafetensorsBuilder.Build("{" + string.Join(',', Enumerable.Range(0, tensors).Select(i => $$"""
                "{{i}}":{"dtype":"U8","shape":[],"data_offsets":[{{i}},{{i + 1}}]}
                """)) + "}", new byte[tensors]);
            return Enumerable.Range(0, 3).Min(_ =>
            {
                long before = GC.GetAllocatedBytesForCurrentThread();
                var start = Environment.CpuUsage.TotalTime;
                using var file = SafetensorsFile.Parse("many.safetensors", bytes);
                var used = Environment.CpuUsage.TotalTime - start;
                long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
                Assert.True(allocated <= (4L * bytes.Length) + (16 << 20), $"{allocated} bytes were allocated for {bytes.Length}");
                Assert.Equal(tensors, file.Keys.Count);
                return used;
            });
        }
    }

    string Write(string name, byte[] bytes)
    {
        string path = Path.Combine(folder, name);
        File.WriteAllBytes(path, bytes);
        return path;
    }
}
