using MetaQuery.Farm;
using TorchSharp;

namespace MetaQuery.Silo;

/// <summary>Where a worker computes.</summary>
/// <param name="Device">As the tensor library names it.</param>
/// <param name="Name">What enters the numerics fingerprint in place of the processor's instruction set; null for the CPU.</param>
internal sealed record ComputeDevice(torch.Device Device, string? Name)
{
    private const string DriverFolder = "/proc/driver/nvidia/gpus"; // a folder per device, named by its place on the bus, with "Model: ..." in it

    public bool IsCpu => Name is null;

    /// <exception cref="JobSpecException">There is no such device here.</exception>
    public static ComputeDevice Parse(string text)
    {
        torch.Device device = Read(text);
        if (device.type == DeviceType.CPU)
        {
            return new ComputeDevice(device, null);
        }

        int index = Math.Max(device.index, 0);
        int count = torch.cuda_is_available() ? torch.cuda.device_count() : 0;
        return index < count
            ? new ComputeDevice(device, $"cuda {ModelOf(index)}")
            : throw new JobSpecException($"device {text}: this libtorch sees {count} CUDA devices; cpu is always there");
    }

    /// <summary>Whether it means the CPU, however it is written; nothing is looked for on this machine.</summary>
    /// <exception cref="JobSpecException">No such device is known.</exception>
    public static bool NamesCpu(string text) => Read(text).type == DeviceType.CPU;

    private static torch.Device Read(string text)
    {
        try
        {
            return new torch.Device(text) is { type: DeviceType.CPU or DeviceType.CUDA } device
                ? device
                : throw new JobSpecException($"device {text} is not known; cpu, cuda and cuda:1 are");
        }
        catch (ArgumentException exception)
        {
            throw new JobSpecException($"device {exception.Message}", exception);
        }
    }

    /// <summary>The card's model: two of one model give the same bits.</summary>
    private static string ModelOf(int index)
    {
        string[] cards = Directory.Exists(DriverFolder) ? [.. Directory.EnumerateDirectories(DriverFolder).Order(StringComparer.Ordinal)] : [];
        return index < cards.Length
            && File.ReadLines(Path.Combine(cards[index], "information")).FirstOrDefault(line => line.StartsWith("Model:", StringComparison.Ordinal)) is { } line
            ? line["Model:".Length..].Trim()
            : "unknown model";
    }
}
