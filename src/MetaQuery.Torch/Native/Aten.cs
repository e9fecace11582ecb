using System.Collections.Concurrent;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using Tensor = TorchSharp.torch.Tensor;

namespace TorchSharp.Native;

internal enum ValueTag { None, Tensor, Int, Double, Bool, IntList, TensorList, DoubleList, String, Device, Generator }

/// <summary>A tagged value as native/shim.h lays it out.</summary>
[StructLayout(LayoutKind.Explicit, Size = 16)]
internal struct NativeValue
{
    [FieldOffset(0)] public ValueTag Tag;
    [FieldOffset(4)] public int Count;
    [FieldOffset(8)] public long Integer;
    [FieldOffset(8)] public double Number;
    [FieldOffset(8)] public nint Pointer;
}

/// <summary>One argument of an operator: a number, or a reference that keeps its object alive during the call.</summary>
internal readonly struct Arg
{
    public readonly ValueTag Tag;
    public readonly long Bits;
    public readonly object? Reference;

    Arg(ValueTag tag, long bits, object? reference = null) => (Tag, Bits, Reference) = (tag, bits, reference);

    public static Arg None => default;
    public static implicit operator Arg(Tensor? tensor) => tensor is null ? default : new(ValueTag.Tensor, 0, tensor);
    public static implicit operator Arg(long value) => new(ValueTag.Int, value);
    public static implicit operator Arg(long? value) => value is { } v ? v : default(Arg);
    public static implicit operator Arg(int value) => new(ValueTag.Int, value);
    public static implicit operator Arg(double value) => new(ValueTag.Double, BitConverter.DoubleToInt64Bits(value));
    public static implicit operator Arg(double? value) => value is { } v ? v : default(Arg);
    public static implicit operator Arg(bool value) => new(ValueTag.Bool, value ? 1 : 0);
    public static implicit operator Arg(bool? value) => value is { } v ? v : default(Arg);
    public static implicit operator Arg(long[]? values) => values is null ? default : new(ValueTag.IntList, 0, values);
    public static implicit operator Arg(double[]? values) => values is null ? default : new(ValueTag.DoubleList, 0, values);
    public static implicit operator Arg(Tensor?[] tensors) => new(ValueTag.TensorList, 0, tensors);
    public static implicit operator Arg(string? text) => text is null ? default : new(ValueTag.String, 0, text);
    public static implicit operator Arg(torch.ScalarType type) => new(ValueTag.Int, (long)type);
    public static implicit operator Arg(torch.ScalarType? type) => type is { } t ? t : default(Arg);
    public static implicit operator Arg(torch.Device? device) => device is null ? default : new(ValueTag.Device, device.Packed);
    public static implicit operator Arg(torch.Generator? generator) => generator is null ? default : new(ValueTag.Generator, 0, generator);
    public static implicit operator Arg(Scalar? scalar) => scalar is null ? default : new(scalar.Tag, scalar.Bits);
}

/// <summary>
/// Calls any ATen operator by its name in native_functions.yaml, <c>"add.Tensor"</c> say. Arguments come in the schema's order,
/// keyword arguments included; trailing ones that are left out take the schema's defaults.
/// </summary>
internal static unsafe class Aten
{
    static readonly ConcurrentDictionary<string, nint> Operators = new(StringComparer.Ordinal);

    static nint Resolve(string name)
    {
        if (Operators.TryGetValue(name, out var handle)) return handle;
        var dot = name.IndexOf('.', StringComparison.Ordinal);
        handle = NativeMethods.Operator("aten::" + (dot < 0 ? name : name[..dot]), dot < 0 ? "" : name[(dot + 1)..]);
        if (handle == 0) throw TorchException.Last();
        Operators[name] = handle;
        return handle;
    }

    public static bool Has(string name)
    {
        var dot = name.IndexOf('.', StringComparison.Ordinal);
        return NativeMethods.HasOperator("aten::" + (dot < 0 ? name : name[..dot]), dot < 0 ? "" : name[(dot + 1)..]) == 1;
    }

    /// <summary>An operator that returns one tensor.</summary>
    public static Tensor One(string name, params ReadOnlySpan<Arg> arguments)
    {
        NativeValue result;
        Invoke(name, arguments, &result, 1);
        return new Tensor(result.Pointer);
    }

    /// <summary>An operator in place: what it returns is its first argument, so that is what comes back.</summary>
    public static Tensor InPlace(Tensor self, string name, params ReadOnlySpan<Arg> arguments)
    {
        Invoke(name, arguments, null, 0);
        return self;
    }

    /// <summary>An operator that returns several tensors or a list of them; an undefined one comes as null.</summary>
    public static Tensor[] Many(string name, params ReadOnlySpan<Arg> arguments)
    {
        const int Room = 8;
        var few = stackalloc NativeValue[Room];
        var count = Invoke(name, arguments, few, Room);
        var results = new Tensor[count];
        if (count <= Room)
        {
            for (var i = 0; i < count; i++) results[i] = few[i].Pointer == 0 ? null! : new Tensor(few[i].Pointer);
            return results;
        }
        var all = new NativeValue[count];
        fixed (NativeValue* values = all) NativeMethods.Results(values);
        for (var i = 0; i < count; i++) results[i] = all[i].Pointer == 0 ? null! : new Tensor(all[i].Pointer);
        return results;
    }

    /// <summary>An operator that returns a number or a bool.</summary>
    public static NativeValue Number(string name, params ReadOnlySpan<Arg> arguments)
    {
        NativeValue result;
        Invoke(name, arguments, &result, 1);
        return result;
    }

    [SkipLocalsInit]
    static int Invoke(string name, ReadOnlySpan<Arg> arguments, NativeValue* results, int room)
    {
        var op = Resolve(name);
        var values = stackalloc NativeValue[arguments.Length];
        var words = 0;
        foreach (ref readonly var argument in arguments) words += WordsOf(argument);
        // Large lists (many tensors to join, say) would not fit on the stack.
        long* few = stackalloc long[words <= 512 ? words : 1];
        var buffer = words <= 512 ? few : (long*)NativeMemory.Alloc((nuint)words, 8);
        try
        {
            var next = buffer;
            for (var i = 0; i < arguments.Length; i++) next = Write(arguments[i], out values[i], next);
            var count = NativeMethods.Call(op, values, arguments.Length, results, room);
            foreach (ref readonly var argument in arguments) GC.KeepAlive(argument.Reference);
            if (count < 0) throw TorchException.Last();
            return count;
        }
        finally
        {
            if (words > 512) NativeMemory.Free(buffer);
        }
    }

    static int WordsOf(in Arg argument) => argument.Tag switch
    {
        ValueTag.IntList => ((long[])argument.Reference!).Length,
        ValueTag.DoubleList => ((double[])argument.Reference!).Length,
        ValueTag.TensorList => ((Tensor?[])argument.Reference!).Length,
        ValueTag.String => Encoding.UTF8.GetMaxByteCount(((string)argument.Reference!).Length) / 8 + 1,
        _ => 0,
    };

    static long* Write(in Arg argument, out NativeValue value, long* next)
    {
        value = new NativeValue { Tag = argument.Tag, Integer = argument.Bits };
        switch (argument.Tag)
        {
            case ValueTag.Tensor:
                value.Pointer = ((Tensor)argument.Reference!).Handle;
                return next;
            case ValueTag.Generator:
                value.Pointer = ((torch.Generator)argument.Reference!).Handle;
                return next;
            case ValueTag.IntList:
                var integers = (long[])argument.Reference!;
                integers.CopyTo(new Span<long>(next, integers.Length));
                (value.Pointer, value.Count) = ((nint)next, integers.Length);
                return next + integers.Length;
            case ValueTag.DoubleList:
                var numbers = (double[])argument.Reference!;
                numbers.CopyTo(new Span<double>(next, numbers.Length));
                (value.Pointer, value.Count) = ((nint)next, numbers.Length);
                return next + numbers.Length;
            case ValueTag.TensorList:
                var tensors = (Tensor?[])argument.Reference!;
                for (var i = 0; i < tensors.Length; i++) next[i] = tensors[i]?.Handle ?? 0;
                (value.Pointer, value.Count) = ((nint)next, tensors.Length);
                return next + tensors.Length;
            case ValueTag.String:
                var text = (string)argument.Reference!;
                value.Pointer = (nint)next;
                value.Count = Encoding.UTF8.GetBytes(text, new Span<byte>(next, WordsOf(argument) * 8));
                return next + WordsOf(argument);
            default:
                return next;
        }
    }
}
