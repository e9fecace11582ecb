using TorchSharp.Native;

namespace TorchSharp;

/// <summary>A number on its way to libtorch: an integer, a float or a bool.</summary>
public sealed class Scalar : IDisposable
{
    internal readonly ValueTag Tag;
    internal readonly long Bits;

    Scalar(ValueTag tag, long bits) => (Tag, Bits) = (tag, bits);

    internal static Scalar From(NativeValue value) => new(value.Tag, value.Integer);

    public static implicit operator Scalar(byte value) => new(ValueTag.Int, value);
    public static implicit operator Scalar(sbyte value) => new(ValueTag.Int, value);
    public static implicit operator Scalar(short value) => new(ValueTag.Int, value);
    public static implicit operator Scalar(int value) => new(ValueTag.Int, value);
    public static implicit operator Scalar(long value) => new(ValueTag.Int, value);
    public static implicit operator Scalar(Half value) => (double)value;
    public static implicit operator Scalar(float value) => (double)value;
    public static implicit operator Scalar(double value) => new(ValueTag.Double, BitConverter.DoubleToInt64Bits(value));
    public static implicit operator Scalar(bool value) => new(ValueTag.Bool, value ? 1 : 0);

    /// <summary>The type that libtorch gives such a number: Int64, Float64 or Bool.</summary>
    public torch.ScalarType Type => Tag switch
    {
        ValueTag.Int => torch.ScalarType.Int64,
        ValueTag.Double => torch.ScalarType.Float64,
        _ => torch.ScalarType.Bool,
    };

    internal double Double => Tag == ValueTag.Double ? BitConverter.Int64BitsToDouble(Bits) : Bits;
    internal long Int64 => Tag == ValueTag.Double ? checked((long)Double) : Bits;

    /// <summary>Nothing native is held; it is here since TorchSharp's Scalar is disposable.</summary>
    public void Dispose()
    {
    }

    public override string ToString() => Tag switch
    {
        ValueTag.Double => Double.ToString(System.Globalization.CultureInfo.InvariantCulture),
        ValueTag.Bool => Bits != 0 ? "true" : "false",
        _ => Bits.ToString(System.Globalization.CultureInfo.InvariantCulture),
    };
}

/// <summary>Reads a scalar back.</summary>
public static class ScalarExtensionMethods
{
    public static Scalar ToScalar(this int value) => value;
    public static Scalar ToScalar(this long value) => value;
    public static Scalar ToScalar(this float value) => value;
    public static Scalar ToScalar(this double value) => value;
    public static Scalar ToScalar(this bool value) => value;
    public static float ToSingle(this Scalar value) => (float)value.Double;
    public static double ToDouble(this Scalar value) => value.Double;
    public static byte ToByte(this Scalar value) => checked((byte)value.Int64);
    public static int ToInt32(this Scalar value) => checked((int)value.Int64);
    public static long ToInt64(this Scalar value) => value.Int64;
    public static bool ToBoolean(this Scalar value) => value.Double != 0;
}
