using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using TorchSharp.Native;
using TorchSharp.Utils;

namespace TorchSharp
{
    public static partial class torch
    {
        public partial class Tensor
        {
            /// <summary>The elements, to read and write in place.</summary>
            /// <typeparam name="T">The element type that fits <see cref="dtype"/>; <see cref="BFloat16"/> for bfloat16.</typeparam>
            /// <exception cref="ArgumentException"><typeparamref name="T"/> is not the tensor's type.</exception>
            /// <exception cref="InvalidOperationException">The tensor is not in the processor's memory.</exception>
            public TensorAccessor<T> data<T>() where T : unmanaged
            {
                if (!is_cpu()) throw new InvalidOperationException($"data<{typeof(T).Name}>() needs a tensor on the CPU, this one is on {device}");
                if (!Fits(typeof(T), dtype)) throw new ArgumentException($"data<{typeof(T).Name}>() does not fit a tensor of {dtype}");
                return new TensorAccessor<T>(this);
            }

            /// <summary>The one element of a tensor, on any device.</summary>
            /// <exception cref="ArgumentException">More or fewer elements than one, or <typeparamref name="T"/> is not the tensor's type.</exception>
            public unsafe T item<T>() where T : unmanaged
            {
                if (NumberOfElements != 1) throw new ArgumentException($"item() needs one element, this tensor has {NumberOfElements}");
                if (!Fits(typeof(T), dtype)) throw new ArgumentException($"item<{typeof(T).Name}>() does not fit a tensor of {dtype}");
                if (!is_cpu())
                {
                    using var here = cpu();
                    return here.item<T>();
                }
                var value = *(T*)DataPointer;
                GC.KeepAlive(this);
                return value;
            }

            public Scalar ToScalar() => Scalar.From(Aten.Number("_local_scalar_dense", this));

            /// <summary>The raw bytes of a contiguous tensor in the processor's memory; valid while the tensor is.</summary>
            public unsafe Span<byte> bytes
            {
                get
                {
                    if (!is_contiguous()) throw new InvalidOperationException("bytes needs a contiguous tensor");
                    if (!is_cpu()) throw new InvalidOperationException($"bytes needs a tensor on the CPU, this one is on {device}");
                    return new Span<byte>((void*)DataPointer, checked((int)(NumberOfElements * ElementSize)));
                }
                set
                {
                    if (value.Length != NumberOfElements * ElementSize)
                        throw new ArgumentException($"{value.Length} bytes for a tensor of {NumberOfElements * ElementSize}");
                    value.CopyTo(bytes);
                }
            }

            /// <summary>Address of the first element; zero for a tensor without elements.</summary>
            internal nint DataPointer
            {
                get
                {
                    if (NumberOfElements == 0) return 0;
                    var address = NativeMethods.TensorData(Handle);
                    GC.KeepAlive(this);
                    return address != 0 ? address : throw TorchException.Last();
                }
            }

            static bool Fits(Type type, ScalarType dtype) => dtype switch
            {
                ScalarType.Byte => type == typeof(byte),
                ScalarType.Int8 => type == typeof(sbyte),
                ScalarType.Int16 => type == typeof(short),
                ScalarType.Int32 => type == typeof(int),
                ScalarType.Int64 => type == typeof(long),
                ScalarType.Float16 => type == typeof(Half),
                ScalarType.Float32 => type == typeof(float),
                ScalarType.Float64 => type == typeof(double),
                ScalarType.Bool => type == typeof(bool) || type == typeof(byte),
                ScalarType.BFloat16 => type == typeof(BFloat16),
                _ => false,
            };
        }
    }

    /// <summary>A bfloat16: the upper half of a float32.</summary>
    public readonly struct BFloat16 : IEquatable<BFloat16>, IComparable<BFloat16>
    {
        readonly ushort _bits;

        /// <summary>Rounds to the nearest, ties to even.</summary>
        public BFloat16(float f)
        {
            var bits = BitConverter.SingleToUInt32Bits(f);
            _bits = float.IsNaN(f) ? (ushort)(bits >> 16 | 0x40) : (ushort)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
        }

        BFloat16(ushort bits, bool _) => _bits = bits;

        public static BFloat16 FromRawValue(ushort rawValue) => new(rawValue, false);

        public float ToSingle() => BitConverter.Int32BitsToSingle(_bits << 16);

        public static explicit operator float(BFloat16 bf) => bf.ToSingle();
        public static explicit operator double(BFloat16 bf) => bf.ToSingle();
        public static explicit operator BFloat16(float f) => new(f);
        public static explicit operator BFloat16(double d) => new((float)d);
        public static bool operator ==(BFloat16 a, BFloat16 b) => a.ToSingle() == b.ToSingle();
        public static bool operator !=(BFloat16 a, BFloat16 b) => a.ToSingle() != b.ToSingle();
        public static bool operator <(BFloat16 a, BFloat16 b) => a.ToSingle() < b.ToSingle();
        public static bool operator >(BFloat16 a, BFloat16 b) => a.ToSingle() > b.ToSingle();
        public static bool operator <=(BFloat16 a, BFloat16 b) => a.ToSingle() <= b.ToSingle();
        public static bool operator >=(BFloat16 a, BFloat16 b) => a.ToSingle() >= b.ToSingle();

        public int CompareTo(BFloat16 other) => ToSingle().CompareTo(other.ToSingle());
        public bool Equals(BFloat16 other) => this == other;
        public override bool Equals(object? obj) => obj is BFloat16 other && Equals(other);
        public override int GetHashCode() => ToSingle().GetHashCode();
        public override string ToString() => ToSingle().ToString(System.Globalization.CultureInfo.InvariantCulture);
    }
}

namespace TorchSharp.Utils
{
    /// <summary>Reads and writes the elements of a tensor in the processor's memory, in row-major order whatever its strides.</summary>
    public sealed class TensorAccessor<T> : IDisposable, IEnumerable<T> where T : unmanaged
    {
        readonly torch.Tensor _tensor;
        readonly long[] _shape, _strides;
        readonly nint _address;

        internal TensorAccessor(torch.Tensor tensor) =>
            (_tensor, _shape, _strides, _address, Count) = (tensor, tensor.shape, tensor.stride(), tensor.DataPointer, tensor.NumberOfElements);

        public long Count { get; }

        public unsafe T this[params long[] indices]
        {
            get => ((T*)_address)[Offset(indices)];
            set => ((T*)_address)[Offset(indices)] = value;
        }

        long Offset(long[] indices)
        {
            if (indices.Length == 1 && _shape.Length != 1) return OffsetOf(Bounded(indices[0], Count));
            if (indices.Length != _shape.Length) throw new ArgumentException($"{indices.Length} indices for {_shape.Length} dimensions");
            long offset = 0;
            for (var i = 0; i < indices.Length; i++) offset += Bounded(indices[i], _shape[i]) * _strides[i];
            return offset;
        }

        static long Bounded(long index, long size) =>
            index >= 0 && index < size ? index : throw new ArgumentOutOfRangeException(nameof(index), $"index {index} of {size}");

        long OffsetOf(long linear)
        {
            long offset = 0;
            for (var i = _shape.Length - 1; i >= 0; i--)
            {
                offset += linear % _shape[i] * _strides[i];
                linear /= _shape[i];
            }
            return offset;
        }

        public T[] ToArray()
        {
            var array = new T[Count];
            CopyTo(array.AsSpan());
            return array;
        }

        public void CopyTo(T[] array, int arrayIndex = 0, long tensorIndex = 0) => CopyTo(array.AsSpan(), arrayIndex, tensorIndex);

        public unsafe void CopyTo(Span<T> array, int arrayIndex = 0, long tensorIndex = 0)
        {
            var target = array[arrayIndex..];
            var count = checked((int)(Count - tensorIndex));
            if (target.Length < count) throw new ArgumentException($"{count} elements do not fit into {target.Length}");
            if (_tensor.is_contiguous()) new ReadOnlySpan<T>((T*)_address + tensorIndex, count).CopyTo(target);
            else for (var i = 0; i < count; i++) target[i] = ((T*)_address)[OffsetOf(tensorIndex + i)];
            GC.KeepAlive(_tensor);
        }

        public void CopyFrom(T[] array, int arrayIndex = 0, long tensorIndex = 0) => CopyFrom(array.AsSpan(), arrayIndex, tensorIndex);

        public unsafe void CopyFrom(ReadOnlySpan<T> array, int arrayIndex = 0, long tensorIndex = 0)
        {
            var source = array[arrayIndex..];
            if (source.Length > Count - tensorIndex) throw new ArgumentException($"{source.Length} elements do not fit into {Count - tensorIndex}");
            if (_tensor.is_contiguous()) source.CopyTo(new Span<T>((T*)_address + tensorIndex, source.Length));
            else for (var i = 0; i < source.Length; i++) ((T*)_address)[OffsetOf(tensorIndex + i)] = source[i];
            GC.KeepAlive(_tensor);
        }

        unsafe T At(long linear) => ((T*)_address)[OffsetOf(linear)];

        public IEnumerator<T> GetEnumerator()
        {
            for (long i = 0; i < Count; i++) yield return At(i);
            GC.KeepAlive(_tensor);
        }

        System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();

        /// <summary>Nothing is held; it is here since TorchSharp's accessor is disposable.</summary>
        public void Dispose()
        {
        }
    }
}
