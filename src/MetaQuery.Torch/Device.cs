using TorchSharp.Native;

namespace TorchSharp;

public static partial class torch
{
    /// <summary>Where a tensor is or will be allocated.</summary>
    public class Device
    {
        public DeviceType type { get; }

        /// <summary>The ordinal, or -1 for the current device of that type.</summary>
        public int index { get; } = -1;

        /// <param name="description">"cpu", "cuda" or "cuda:1".</param>
        /// <exception cref="ArgumentException">Not a device.</exception>
        public Device(string description)
        {
            var parts = description.Split(':');
            type = Parse(parts[0]);
            if (parts.Length > 2 || (parts.Length == 2 && !(int.TryParse(parts[1], out var ordinal) && ordinal >= 0)))
                throw new ArgumentException($"'{description}' is not a device; 'cpu', 'cuda' and 'cuda:1' are", nameof(description));
            if (parts.Length == 2) index = int.Parse(parts[1]);
        }

        public Device(string deviceType, int index = -1) => (type, this.index) = (Parse(deviceType), index);

        public Device(DeviceType deviceType, int index = -1) => (type, this.index) = (deviceType, index);

        /// <param name="index">Ordinal of a CUDA device.</param>
        public Device(int index) => (type, this.index) = (DeviceType.CUDA, index);

        internal long Packed => (long)type | ((long)(index + 1) << 8);

        internal static Device Unpack(long packed)
        {
            var kind = (DeviceType)(packed & 0xff);
            return kind == DeviceType.CPU ? CPU : new Device(kind, (int)(packed >> 8) - 1);
        }

        static DeviceType Parse(string name) => Enum.TryParse<DeviceType>(name, ignoreCase: true, out var kind)
            ? kind
            : throw new ArgumentException($"'{name}' is not a type of device; 'cpu' and 'cuda' are", nameof(name));

        public static implicit operator Device(string description) => new(description);

        public override string ToString() =>
            type == DeviceType.CPU ? "cpu" : index < 0 ? type.ToString().ToLowerInvariant() : $"{type.ToString().ToLowerInvariant()}:{index}";
    }

    public static readonly Device CPU = new(DeviceType.CPU);
    public static readonly Device META = new(DeviceType.META);

    public static Device CUDA => new(DeviceType.CUDA);

    public static Device device(string description) => new(description);
    public static Device device(string deviceType, int index = -1) => new(deviceType, index);
    public static Device device(DeviceType deviceType, int index = -1) => new(deviceType, index);
    public static Device device(int index) => new(index);

    public static bool cuda_is_available() => cuda.is_available();

    public static class cuda
    {
        /// <summary>True when this libtorch was built for CUDA and sees a device.</summary>
        public static bool is_available() => device_count() > 0;

        public static int device_count() => NativeMethods.CudaDevices();

        /// <summary>Seeds the generator of the current CUDA device.</summary>
        public static void manual_seed(long seed)
        {
            using var generator = new Generator(NativeMethods.GeneratorDefault(CUDA.Packed), CUDA);
            generator.manual_seed(seed);
        }
    }
}
