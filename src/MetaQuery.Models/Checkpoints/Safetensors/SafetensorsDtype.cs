using static TorchSharp.torch;

namespace MetaQuery.Models.Checkpoints;

/// <summary>The dtypes that the safetensors format names (safetensors 0.8, <c>tensor.rs</c>).</summary>
enum SafetensorsDtype : byte
{
    Bool, Float4, Float6E2M3, Float6E3M2, UInt8, Int8, Float8E5M2, Float8E4M3, Float8E8M0, Float8E4M3Fnuz, Float8E5M2Fnuz, Int16, UInt16,
    Float16, BFloat16, Int32, UInt32, Float32, Complex64, Float64, Int64, UInt64,
}

static class SafetensorsDtypes
{
    static readonly (string Name, int Bits)[] Table =
    [
        ("BOOL", 8), ("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6), ("U8", 8), ("I8", 8), ("F8_E5M2", 8), ("F8_E4M3", 8), ("F8_E8M0", 8),
        ("F8_E4M3FNUZ", 8), ("F8_E5M2FNUZ", 8), ("I16", 16), ("U16", 16), ("F16", 16), ("BF16", 16), ("I32", 32), ("U32", 32), ("F32", 32),
        ("C64", 64), ("F64", 64), ("I64", 64), ("U64", 64),
    ];

    /// <summary>The format's names, the frequent ones first.</summary>
    public static readonly string[] Names = [.. Table.Select(static row => row.Name).OrderByDescending(static name => name is "BF16" or "F16" or "F32")];

    public static string Name(this SafetensorsDtype dtype) => Table[(int)dtype].Name;

    public static int Bits(this SafetensorsDtype dtype) => Table[(int)dtype].Bits;

    public static SafetensorsDtype? Find(string name)
    {
        int index = Array.FindIndex(Table, row => string.Equals(row.Name, name, StringComparison.Ordinal));
        return index < 0 ? null : (SafetensorsDtype)index;
    }

    /// <summary>The tensor library's dtype with the same bytes, or null where it has none.</summary>
    public static ScalarType? AsStored(this SafetensorsDtype dtype) => dtype switch
    {
        SafetensorsDtype.Bool => ScalarType.Bool,
        SafetensorsDtype.UInt8 => ScalarType.Byte,
        SafetensorsDtype.Int8 => ScalarType.Int8,
        SafetensorsDtype.Int16 => ScalarType.Int16,
        SafetensorsDtype.Int32 => ScalarType.Int32,
        SafetensorsDtype.Int64 => ScalarType.Int64,
        SafetensorsDtype.Float16 => ScalarType.Float16,
        SafetensorsDtype.BFloat16 => ScalarType.BFloat16,
        SafetensorsDtype.Float32 => ScalarType.Float32,
        SafetensorsDtype.Float64 => ScalarType.Float64,
        _ => null,
    };

    /// <summary>True for the types that are decoded to float32.</summary>
    public static bool IsFloat8(this SafetensorsDtype dtype) =>
        dtype is SafetensorsDtype.Float8E4M3 or SafetensorsDtype.Float8E5M2 or SafetensorsDtype.Float8E8M0;
}
