using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>libtorch's own random number generator (Mersenne Twister on the CPU, Philox on CUDA).</summary>
    public class Generator : IDisposable
    {
        nint _handle;

        /// <param name="seed">Seed of the new generator.</param>
        /// <param name="device">Device; the CPU by default.</param>
        public Generator(ulong seed = 0, Device? device = null)
            : this(NativeMethods.GeneratorNew((long)seed, (device ?? CPU).Packed), device ?? CPU)
        {
        }

        internal Generator(nint handle, Device device)
        {
            if (handle == 0) throw TorchException.Last();
            (_handle, this.device) = (handle, device);
        }

        public Device device { get; }

        /// <summary>The generator used where none is given.</summary>
        public static Generator Default { get; } = new(NativeMethods.GeneratorDefault(CPU.Packed), CPU);

        public nint Handle => _handle != 0 ? _handle : throw new ObjectDisposedException(nameof(Generator));

        /// <summary>Starts the sequence of <paramref name="seed"/> anew.</summary>
        public Generator manual_seed(long seed)
        {
            Check(NativeMethods.GeneratorSetSeed(Handle, seed));
            return this;
        }

        /// <summary>Seeds it from the system's randomness and returns that seed.</summary>
        public unsafe long seed()
        {
            long value;
            Check(NativeMethods.GeneratorSeed(Handle, &value, 1));
            return value;
        }

        public unsafe long initial_seed()
        {
            long value;
            Check(NativeMethods.GeneratorSeed(Handle, &value, 0));
            return value;
        }

        public Tensor get_state() => Tensor.Owned(NativeMethods.GeneratorGetState(Handle));

        public void set_state(Tensor value)
        {
            Check(NativeMethods.GeneratorSetState(Handle, value.Handle));
            GC.KeepAlive(value);
        }

        ~Generator() => Dispose(false);

        public void Dispose()
        {
            Dispose(true);
            GC.SuppressFinalize(this);
        }

        protected virtual void Dispose(bool disposing)
        {
            if (_handle == 0) return;
            NativeMethods.GeneratorFree(_handle);
            _handle = 0;
        }
    }

    /// <summary>Seeds the default generators: the CPU's, and CUDA's where there is one.</summary>
    public static Generator manual_seed(long seed)
    {
        if (cuda.is_available()) cuda.manual_seed(seed);
        return Generator.Default.manual_seed(seed);
    }

    public static class random
    {
        public static long seed() => Generator.Default.seed();
        public static long initial_seed() => Generator.Default.initial_seed();
        public static Generator manual_seed(long seed) => torch.manual_seed(seed);
        public static Tensor get_rng_state() => Generator.Default.get_state();
        public static void set_rng_state(Tensor new_state) => Generator.Default.set_state(new_state);
    }

    internal static void Check(int result)
    {
        if (result < 0) throw TorchException.Last();
    }
}
