using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

/// <summary>Reads tensors back as float32, whatever their type and strides.</summary>
internal static class Values
{
    public static float[] Of(Tensor tensor)
    {
        using var single = tensor.to(float32);
        return single.data<float>().ToArray();
    }

    public static void Close(float[] expected, Tensor actual, float tolerance)
    {
        var found = Of(actual);
        Assert.Equal(expected.Length, found.Length);
        for (var i = 0; i < found.Length; i++)
            Assert.True(Math.Abs(expected[i] - found[i]) <= tolerance, $"element {i}: {found[i]}, expected {expected[i]} within {tolerance}");
    }

    public static void Close(Tensor expected, Tensor actual, float tolerance)
    {
        Assert.Equal(expected.shape, actual.shape);
        Close(Of(expected), actual, tolerance);
    }
}
