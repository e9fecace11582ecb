using System.Diagnostics.CodeAnalysis;
using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>
    /// A tensor of libtorch. It owns one native reference: dispose it, make it inside a <see cref="NewDisposeScope"/>, or the
    /// finalizer will, some time. Several tensors may share one storage (views, <see cref="alias"/>).
    /// </summary>
    public partial class Tensor : IDisposable
    {
        static long _totalCount, _peakCount;

        internal nint handle;

        internal DisposeScope? OwningDisposeScope { get; set; }

        internal Tensor(nint handle, bool register = true)
        {
            this.handle = handle;
            var count = Interlocked.Increment(ref _totalCount);
            if (count > _peakCount) _peakCount = count; // a race loses a peak by one: it is a diagnostic
            if (register) OwningDisposeScope = DisposeScopeManager.ThreadSingleton.Register(this);
            else DisposeScopeManager.ThreadSingleton.Tensors.CreatedOutsideScopeCount++;
        }

        internal static Tensor Owned(nint handle) => handle == 0 ? throw TorchException.Last() : new Tensor(handle);

        /// <summary>Wraps an owned native reference (here a c10::TensorImpl*).</summary>
        public static Tensor UnsafeCreateTensor(IntPtr handle) => new(handle);

        /// <summary>How many tensors are alive in the process; the number that a leak raises.</summary>
        public static long TotalCount => Interlocked.Read(ref _totalCount);

        public static long PeakCount => Interlocked.Read(ref _peakCount);

        /// <summary>A name for the debugger.</summary>
        public string? name { get; set; }

        /// <exception cref="ObjectDisposedException">The tensor was disposed.</exception>
        public IntPtr Handle => handle != 0 ? handle : throw new ObjectDisposedException(nameof(Tensor), "the tensor was disposed");

        public bool IsInvalid => handle == 0;

        ~Tensor() => Dispose(false);

        public void Dispose()
        {
            Dispose(true);
            GC.SuppressFinalize(this);
        }

        protected virtual void Dispose(bool disposing)
        {
            var native = Interlocked.Exchange(ref handle, 0);
            if (native == 0) return;
            if (disposing)
            {
                var statistics = DisposeScopeManager.ThreadSingleton.Tensors;
                if (OwningDisposeScope is { } scope)
                {
                    statistics.DisposedInScopeCount++;
                    scope.Forget(this);
                    OwningDisposeScope = null;
                }
                else
                {
                    statistics.DisposedOutsideScopeCount++;
                }
            }
            Interlocked.Decrement(ref _totalCount);
            NativeMethods.TensorFree(native);
        }

        /// <summary>Hands the tensor to the scope around the one that owns it, or to nobody where there is none.</summary>
        public Tensor MoveToOuterDisposeScope()
        {
            OwningDisposeScope?.MoveToOuter(this);
            return this;
        }

        /// <summary>Takes the tensor out of every scope: the caller disposes it.</summary>
        public Tensor DetachFromDisposeScope()
        {
            OwningDisposeScope?.Detach(this);
            return this;
        }

        public Tensor MoveToOtherDisposeScope(DisposeScope? other)
        {
            if (OwningDisposeScope is not null) OwningDisposeScope.MoveToOther(other, this);
            else other?.Attach(this);
            return this;
        }

        public Tensor MoveToOtherDisposeScope(Tensor other) => MoveToOtherDisposeScope(other.OwningDisposeScope);

        /// <summary>Gives the native reference away: this object becomes invalid and is no longer counted.</summary>
        public IntPtr DecoupleFromNativeHandle()
        {
            var native = Handle;
            handle = 0;
            Interlocked.Decrement(ref _totalCount);
            DisposeScopeManager.ThreadSingleton.Tensors.DisposedOutsideScopeCount++;
            GC.SuppressFinalize(this);
            return native;
        }

        // What `other` holds becomes this object's, and the other way round is not needed: a module that changes its type keeps
        // its parameter objects.
        internal void TakeOver(Tensor other)
        {
            var old = Handle;
            handle = other.Handle;
            other.handle = old;
            other.Dispose();
        }

        public long Dimensions => Ask(NativeMethods.TensorDimensions);
        public long dim() => Dimensions;
        public long ndim => Dimensions;

        public long NumberOfElements
        {
            get
            {
                var count = NativeMethods.TensorElements(Handle);
                GC.KeepAlive(this);
                return count;
            }
        }

        public long numel() => NumberOfElements;

        /// <summary>Bytes of one element.</summary>
        public long ElementSize
        {
            get
            {
                var size = NativeMethods.TensorElementSize(Handle);
                GC.KeepAlive(this);
                return size;
            }
        }

        public long element_size() => ElementSize;

        public ScalarType dtype => (ScalarType)Ask(NativeMethods.TensorDtype);

        public Device device
        {
            get
            {
                var packed = NativeMethods.TensorDevice(Handle);
                GC.KeepAlive(this);
                return Device.Unpack(packed);
            }
        }

        public DeviceType device_type => device.type;
        public int device_index => device.index;
        public bool is_cuda => device_type == DeviceType.CUDA;
        public bool is_meta => device_type == DeviceType.META;
        public bool is_cpu() => device_type == DeviceType.CPU;
        public bool is_floating_point() => torch.is_floating_point(dtype);
        public bool is_integral() => torch.is_integral(dtype);

        /// <summary>The sizes, as a new array.</summary>
        public unsafe long[] shape
        {
            get
            {
                var sizes = new long[Dimensions];
                fixed (long* p = sizes) NativeMethods.TensorSizes(Handle, p);
                GC.KeepAlive(this);
                return sizes;
            }
        }

        public long[] size() => shape;

        /// <param name="dim">Dimension; negative counts from the end.</param>
        /// <exception cref="ArgumentOutOfRangeException">There is no such dimension.</exception>
        public unsafe long size(int dim)
        {
            var count = (int)Dimensions;
            if (dim < -count || dim >= count)
                throw new ArgumentOutOfRangeException(nameof(dim), $"dimension {dim} of a tensor that has {count}");
            var sizes = stackalloc long[count];
            NativeMethods.TensorSizes(Handle, sizes);
            GC.KeepAlive(this);
            return sizes[dim < 0 ? dim + count : dim];
        }

        public unsafe long[] stride()
        {
            var strides = new long[Dimensions];
            fixed (long* p = strides) Check(NativeMethods.TensorStrides(Handle, p));
            GC.KeepAlive(this);
            return strides;
        }

        public long stride(int dim)
        {
            var strides = stride();
            return strides[dim < 0 ? dim + strides.Length : dim];
        }

        public long storage_offset()
        {
            var offset = NativeMethods.TensorStorageOffset(Handle);
            GC.KeepAlive(this);
            return offset >= 0 ? offset : throw TorchException.Last();
        }

        public bool is_contiguous()
        {
            var answer = NativeMethods.TensorIsContiguous(Handle, 0);
            GC.KeepAlive(this);
            Check(answer);
            return answer == 1;
        }

        public bool is_leaf => Ask(NativeMethods.TensorIsLeaf) == 1;

        public bool requires_grad
        {
            get => Ask(NativeMethods.TensorRequiresGrad) == 1;
            set
            {
                Check(NativeMethods.TensorSetRequiresGrad(Handle, value ? 1 : 0));
                GC.KeepAlive(this);
            }
        }

        public Tensor requires_grad_(bool requires_grad = true) => with_requires_grad(requires_grad);

        public Tensor with_requires_grad(bool requires_grad = true)
        {
            this.requires_grad = requires_grad;
            return this;
        }

        /// <summary>Keeps the gradient of a tensor that is not a leaf.</summary>
        public void retain_grad() => Ask(NativeMethods.TensorRetainGrad);

        /// <summary>The accumulated gradient, a new reference each time; null before any backward.</summary>
        public Tensor? grad
        {
            get
            {
                var gradient = NativeMethods.TensorGrad(Handle);
                GC.KeepAlive(this);
                return gradient == 0 ? null : new Tensor(gradient);
            }

            set
            {
                Check(NativeMethods.TensorSetGrad(Handle, value?.Handle ?? 0));
                GC.KeepAlive(this);
                GC.KeepAlive(value);
            }
        }

        /// <exception cref="TorchException">Not a scalar, or no graph leads here.</exception>
        public void backward() => torch.autograd.backward(this);

        public void backward(IList<Tensor>? grad_tensors = null, bool retain_graph = false, bool create_graph = false, IList<Tensor>? inputs = null) =>
            torch.autograd.backward(this, grad_tensors, retain_graph, create_graph, inputs);

        int Ask(Func<nint, int> question)
        {
            var answer = question(Handle);
            GC.KeepAlive(this);
            Check(answer);
            return answer;
        }

        public override bool Equals([NotNullWhen(true)] object? obj) => obj is Tensor other && Equals(other);

        /// <summary>True when shape and every element agree.</summary>
        public bool Equals(Tensor target) => Aten.Number("equal", this, target).Integer != 0;

        public override int GetHashCode() => System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(this);

        public override string ToString() => IsInvalid ? "disposed tensor" : $"[{string.Join("x", shape)}], type = {dtype}, device = {device}";
    }
}
