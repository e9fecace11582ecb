using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>One part of an index: a number, a slice, a tensor, <see cref="Ellipsis"/>, <see cref="None"/> (a new dimension) or a bool.</summary>
    public readonly struct TensorIndex
    {
        internal enum Kind { None, Ellipsis, Number, Slice, Bool, Tensor }

        internal readonly Kind What;
        internal readonly long? First, Last, Step;
        internal readonly torch.Tensor? Indices;

        TensorIndex(Kind what, long? first = null, long? last = null, long? step = null, torch.Tensor? tensor = null) =>
            (What, First, Last, Step, Indices) = (what, first, last, step, tensor);

        public static readonly TensorIndex Ellipsis = new(Kind.Ellipsis);
        public static readonly TensorIndex None = new(Kind.None);
        public static readonly TensorIndex Null = new(Kind.None);
        public static readonly TensorIndex Colon = new(Kind.Slice);

        public static TensorIndex Slice(long? start = null, long? stop = null, long? step = null) => new(Kind.Slice, start, stop, step);
        public static TensorIndex Slice((int? start, int? end) range) => new(Kind.Slice, range.start, range.end);

        public static TensorIndex Slice(Range range)
        {
            long? start = range.Start.IsFromEnd ? -range.Start.Value : range.Start.Value;
            // ^0 as an end means up to the last element.
            long? stop = range.End.IsFromEnd ? (range.End.Value == 0 ? null : -range.End.Value) : range.End.Value;
            return new(Kind.Slice, start == 0 ? null : start, stop);
        }

        public static TensorIndex Bool(bool value) => new(Kind.Bool, value ? 1 : 0);
        public static TensorIndex Single(long? index) => new(Kind.Number, index ?? 0);
        public static TensorIndex Tensor(torch.Tensor tensor) => new(Kind.Tensor, tensor: tensor);

        public static implicit operator TensorIndex(long value) => Single(value);
        public static implicit operator TensorIndex((int? start, int? end) range) => Slice(range);
        public static implicit operator TensorIndex(Range range) => Slice(range);
        public static implicit operator TensorIndex(Index index) => Single(index.IsFromEnd ? -index.Value : index.Value);
    }

    public partial class Tensor
    {
        public Tensor this[params TensorIndex[] indices]
        {
            get => index(indices);
            set => index_put_(value, indices);
        }

        public Tensor this[params Tensor[] indices]
        {
            get => index(indices);
            set => index_put_(value, indices);
        }

        public Tensor this[params long[] indices]
        {
            get => index(Numbers(indices));
            set => index_put_(value, Numbers(indices));
        }

        static TensorIndex[] Numbers(long[] indices) => [.. indices.Select(i => (TensorIndex)i)];

        public Tensor index(params Tensor[] indices) => Aten.One("index.Tensor", this, indices);

        public Tensor index_put_(Tensor value, params Tensor[] indices) => Aten.InPlace(this, "index_put_", this, indices, value);

        public Tensor index_put_(Tensor value, Tensor[] indices, bool accumulate = false) => Aten.InPlace(this, "index_put_", this, indices, value, accumulate);

        /// <summary>A view for numbers and slices, a copy as soon as a tensor or a bool takes part.</summary>
        /// <exception cref="TorchException">More indices than dimensions, or one out of range.</exception>
        public Tensor index(params TensorIndex[] indices)
        {
            var view = Narrowed(indices, out var tensors);
            if (tensors is null) return view;
            using (view) return Aten.One("index.Tensor", view, tensors);
        }

        public Tensor index_put_(Tensor value, params TensorIndex[] indices)
        {
            using var view = Narrowed(indices, out var tensors);
            if (tensors is null) view.copy_(value);
            else Aten.InPlace(view, "index_put_", view, tensors, value);
            return this;
        }

        public Tensor index_put_(Scalar value, params TensorIndex[] indices)
        {
            using var view = Narrowed(indices, out var tensors);
            if (tensors is null)
            {
                view.fill_(value);
                return this;
            }
            using var filler = Aten.One("full", Array.Empty<long>(), value, dtype, Arg.None, device);
            Aten.InPlace(view, "index_put_", view, tensors, filler);
            return this;
        }

        // Applies numbers, slices and new dimensions as views; what is left for index.Tensor comes as a list with gaps.
        Tensor Narrowed(TensorIndex[] indices, out Tensor?[]? tensors)
        {
            var consumed = indices.Count(i => i.What is not (TensorIndex.Kind.None or TensorIndex.Kind.Ellipsis or TensorIndex.Kind.Bool));
            if (consumed > Dimensions) throw new TorchException($"too many indices: {consumed} for a tensor of {Dimensions} dimensions", TorchError.Index);
            List<Tensor?>? list = null;
            var view = alias();
            var dimension = 0L;

            void Replace(Tensor next)
            {
                view.Dispose();
                view = next;
            }

            void Put(Tensor tensor)
            {
                list ??= [];
                while (list.Count < dimension) list.Add(null);
                list.Add(tensor);
            }

            try
            {
                foreach (var index in indices)
                {
                    switch (index.What)
                    {
                        case TensorIndex.Kind.Number:
                            Replace(view.select(dimension, index.First!.Value));
                            break;
                        case TensorIndex.Kind.Slice:
                            if (index.First is not null || index.Last is not null || index.Step is not null)
                                Replace(Aten.One("slice.Tensor", view, dimension, index.First, index.Last, index.Step ?? 1));
                            dimension++;
                            break;
                        case TensorIndex.Kind.None:
                            Replace(view.unsqueeze(dimension++));
                            break;
                        case TensorIndex.Kind.Ellipsis:
                            dimension += Dimensions - consumed;
                            break;
                        case TensorIndex.Kind.Bool:
                            Replace(view.unsqueeze(dimension));
                            Put(index.First == 1 ? torch.zeros([1], ScalarType.Int64, device) : torch.empty([0], ScalarType.Int64, device));
                            dimension++;
                            break;
                        default:
                            var tensor = index.Indices!;
                            Put(tensor);
                            dimension += tensor.dtype is ScalarType.Bool or ScalarType.Byte ? tensor.Dimensions : 1;
                            break;
                    }
                }
            }
            catch
            {
                view.Dispose();
                throw;
            }
            tensors = list?.ToArray();
            return view;
        }
    }
}
