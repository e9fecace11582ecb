using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    sealed class GradientMode : IDisposable
    {
        readonly bool _before = is_grad_enabled();

        public GradientMode(bool enabled) => NativeMethods.SetGradEnabled(enabled ? 1 : 0);

        public void Dispose() => NativeMethods.SetGradEnabled(_before ? 1 : 0);
    }

    sealed class InferenceGuard(bool enabled) : IDisposable
    {
        nint _handle = NativeMethods.InferenceEnter(enabled ? 1 : 0);

        public void Dispose()
        {
            if (_handle != 0) NativeMethods.InferenceLeave(_handle);
            _handle = 0;
        }
    }

    /// <summary>Records no gradients on this thread until it is disposed.</summary>
    public static IDisposable no_grad() => new GradientMode(enabled: false);

    public static IDisposable enable_grad(bool enabled = true) => new GradientMode(enabled);

    public static IDisposable set_grad_enabled(bool mode = true) => new GradientMode(mode);

    public static bool is_grad_enabled() => NativeMethods.GradEnabled() != 0;

    /// <summary>
    /// Faster than <see cref="no_grad"/>: tensors made inside cannot take part in autograd later. Belongs to this thread; dispose
    /// it on the same thread, innermost first.
    /// </summary>
    public static IDisposable inference_mode(bool mode = true) => new InferenceGuard(mode);

    public static bool is_inference_mode_enabled() => NativeMethods.InferenceEnabled() != 0;

    /// <summary>Threads that one operator uses. The loader starts with one; OpenBLAS keeps its own number, set when it is loaded.</summary>
    public static int get_num_threads() => NativeMethods.GetNumThreads();

    public static void set_num_threads(int num) => Check(NativeMethods.SetNumThreads(num));

    /// <summary>libtorch's version, "1.13.0" say.</summary>
    public static string __version__ => System.Runtime.InteropServices.Marshal.PtrToStringUTF8(NativeMethods.TorchVersion())!;

    public static class autograd
    {
        /// <summary>Gradients of <paramref name="outputs"/> with respect to <paramref name="inputs"/>; null where one was not used.</summary>
        /// <exception cref="TorchException">No graph, or a gradient of a non-scalar without <paramref name="grad_outputs"/>.</exception>
        public static unsafe IList<Tensor> grad(IList<Tensor> outputs, IList<Tensor> inputs, IList<Tensor>? grad_outputs = null,
            bool retain_graph = false, bool create_graph = false, bool allow_unused = false)
        {
            nint[] from = Handles(outputs), to = Handles(inputs), seeds = Handles(grad_outputs), results = new nint[inputs.Count];
            fixed (nint* f = from, t = to, s = seeds, r = results)
                Check(NativeMethods.Gradients(f, from.Length, t, to.Length, s, seeds.Length, retain_graph || create_graph ? 1 : 0, create_graph ? 1 : 0, allow_unused ? 1 : 0, r));
            GC.KeepAlive((outputs, inputs, grad_outputs));
            return [.. results.Select(handle => handle == 0 ? null! : new Tensor(handle))];
        }

        /// <summary>Adds gradients to the leaves of the graph.</summary>
        public static unsafe void backward(IList<Tensor> tensors, IList<Tensor>? grad_tensors = null, bool? retain_graph = null,
            bool create_graph = false, IList<Tensor>? inputs = null)
        {
            nint[] from = Handles(tensors), to = Handles(inputs), seeds = Handles(grad_tensors);
            fixed (nint* f = from, t = to, s = seeds)
                Check(NativeMethods.Backward(f, from.Length, s, seeds.Length, retain_graph ?? create_graph ? 1 : 0, create_graph ? 1 : 0, t, to.Length));
            GC.KeepAlive((tensors, grad_tensors, inputs));
        }

        public static void backward(Tensor tensor, IList<Tensor>? grad_tensors = null, bool? retain_graph = null,
            bool create_graph = false, IList<Tensor>? inputs = null) => backward([tensor], grad_tensors, retain_graph, create_graph, inputs);

        static nint[] Handles(IList<Tensor>? tensors) => tensors is null ? [] : [.. tensors.Select(tensor => tensor.Handle)];
    }
}
