using System.Runtime.InteropServices;
using System.Text.Json;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>What the checkpoint kinds compare with.</summary>
static class CheckpointValues
{
    const long AnyNaN = long.MinValue + 1;

    /// <summary>PyTorch's name of a dtype to the format's.</summary>
    public static string StoredType(string dtype) => dtype switch
    {
        "float32" => "F32",
        "float16" => "F16",
        "bfloat16" => "BF16",
        "float64" => "F64",
        "float8_e4m3fn" => "F8_E4M3",
        "float8_e5m2" => "F8_E5M2",
        "int64" => "I64",
        "int32" => "I32",
        "int16" => "I16",
        "int8" => "I8",
        "uint8" => "U8",
        "bool" => "BOOL",
        _ => throw new ParityCaseException($"the dtype {dtype} is not among those that the checkpoint cases use"),
    };

    /// <summary>The elements' bits; any NaN equals any other.</summary>
    public static long[] Bits(Tensor tensor) => tensor.numel() == 0 ? [] : tensor.dtype switch
    {
        ScalarType.Float32 => [.. MemoryMarshal.Cast<byte, float>(tensor.bytes).ToArray().Select(value => float.IsNaN(value) ? AnyNaN : BitConverter.SingleToInt32Bits(value))],
        ScalarType.Float64 => [.. MemoryMarshal.Cast<byte, double>(tensor.bytes).ToArray().Select(value => double.IsNaN(value) ? AnyNaN : BitConverter.DoubleToInt64Bits(value))],
        ScalarType.Int64 => MemoryMarshal.Cast<byte, long>(tensor.bytes).ToArray(),
        var other => throw new ParityCaseException($"expected values of {other} are not compared"),
    };

    public static void Metadata(ParityReport report, WeightSource weights, JsonElement expected)
    {
        var metadata = ((SafetensorsFile)weights).Metadata;
        report.Exact("metadata", [.. metadata.Select(pair => $"{pair.Key}={pair.Value}").Order(StringComparer.Ordinal)],
            [.. expected.EnumerateObject().Select(pair => $"{pair.Name}={pair.Value.GetString()}").Order(StringComparer.Ordinal)]);
    }
}
