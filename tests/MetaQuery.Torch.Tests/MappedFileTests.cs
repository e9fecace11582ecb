using MetaQuery.Kernels;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

[LeakCheck]
public sealed class MappedFileTests : IDisposable
{
    readonly string _path = Path.GetTempFileName();

    public void Dispose() => File.Delete(_path);

    MappedFile Map(params float[] values)
    {
        File.WriteAllBytes(_path, System.Runtime.InteropServices.MemoryMarshal.AsBytes<float>(values).ToArray());
        return new MappedFile(_path);
    }

    [Fact]
    public void A_write_into_a_mapped_tensor_harms_neither_the_file_nor_another_mapping()
    {
        using var mine = Map(1, 2, 3, 4);
        using var others = new MappedFile(_path);
        using var tensor = mine.Tensor(4, [3], float32);
        using var untouched = others.Tensor(0, [4], float32);
        tensor.fill_(9);
        Assert.Equal([9f, 9, 9], Values.Of(tensor));
        Assert.Equal([1f, 2, 3, 4], Values.Of(untouched));
        Assert.Equal(2f, BitConverter.ToSingle(File.ReadAllBytes(_path), 4));
    }

    [Fact]
    public void Nothing_is_copied()
    {
        using var file = Map(1, 2, 3, 4);
        using var first = file.Tensor(0, [4], float32);
        using var second = file.Tensor(8, [1, 2], float32);
        first.add_(10);
        Assert.Equal([13f, 14], Values.Of(second));
    }

    [Fact]
    public void A_tensor_keeps_the_mapping_alive()
    {
        Tensor tensor;
        using (var file = Map(1, 2, 3, 4)) tensor = file.Tensor(0, [4], float32);
        using var view = tensor[2..];
        tensor.Dispose();
        Assert.Equal([3f, 4], Values.Of(view));
        Assert.Contains(File.ReadLines("/proc/self/maps"), line => line.Contains(_path, StringComparison.Ordinal));
        view.Dispose();
        Assert.DoesNotContain(File.ReadLines("/proc/self/maps"), line => line.Contains(_path, StringComparison.Ordinal));
    }

    [Fact]
    public void A_part_of_a_file_is_a_mapping_of_its_own_that_goes_with_its_last_tensor()
    {
        var page = Environment.SystemPageSize;
        File.WriteAllBytes(_path, [.. Enumerable.Range(0, 3 * page).Select(i => (byte)(i / page))]);
        using var handle = File.OpenHandle(_path);
        Tensor tensor;
        using (var part = new MappedFile(_path, handle, page, 2L * page)) tensor = part.Tensor(page - 2, [4], uint8);
        Assert.Equal([1f, 1, 2, 2], Values.Of(tensor));
        tensor.Dispose();
        Assert.DoesNotContain(File.ReadLines("/proc/self/maps"), line => line.Contains(_path, StringComparison.Ordinal));
        Assert.Throws<ArgumentException>(() => new MappedFile(_path, handle, 7, page));
    }

    [Fact]
    public void What_lies_outside_or_askew_is_refused()
    {
        using var file = Map(1, 2, 3, 4);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Tensor(0, [5], float32));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Tensor(-4, [1], float32));
        Assert.Throws<OverflowException>(() => file.Tensor(0, [1L << 40, 1L << 40], float32));
        Assert.Throws<ArgumentException>(() => file.Tensor(2, [1], float32));
        Assert.Equal(16, file.Length);
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Tensor(0, [1], float32));
    }

    [Fact]
    public void An_empty_file_and_an_empty_tensor_are_mapped_too()
    {
        using var file = Map();
        using var tensor = file.Tensor(0, [0, 3], float32);
        Assert.Equal([0L, 3], tensor.shape);
        Assert.Throws<FileNotFoundException>(() => new MappedFile(_path + ".missing"));
    }
}
