using System.Buffers.Binary;
using System.Runtime.InteropServices;
using System.Text.Json;

namespace MetaQuery.Imaging.Tests;

/// <summary>The golden pictures, read without the tensor rooms: a safetensors file is a length, a JSON header and data.</summary>
internal static class Fixtures
{
    private static readonly string Folder = FindFolder(); // before what is made from it: initialisers run in this order

    private static readonly Lazy<(byte[] File, JsonElement Header, int Data)> Expected = new(static () =>
    {
        byte[] file = File.ReadAllBytes(Path.Combine(Folder, "expected.safetensors"));
        int header = (int)BinaryPrimitives.ReadUInt64LittleEndian(file);
        return (file, JsonDocument.Parse(file.AsMemory(8, header)).RootElement, 8 + header);
    });

    public static JsonElement Case { get; } = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Folder, "case.json"))).RootElement;

    public static IEnumerable<JsonElement> Files => Case.GetProperty("files").EnumerateArray();

    public static byte[] Bytes(string name) => File.ReadAllBytes(Path.Combine(Folder, name));

    /// <summary>A picture [height, width, 3], uint8.</summary>
    public static RgbImage Picture(string tensor)
    {
        int[] shape = [.. Entry(tensor).GetProperty("shape").EnumerateArray().Select(side => side.GetInt32())];
        return new RgbImage(shape[1], shape[0], Data(tensor).ToArray());
    }

    public static float[] Floats(string tensor) => MemoryMarshal.Cast<byte, float>(Data(tensor)).ToArray();

    private static JsonElement Entry(string tensor) => Expected.Value.Header.GetProperty(tensor);

    private static ReadOnlySpan<byte> Data(string tensor)
    {
        JsonElement offsets = Entry(tensor).GetProperty("data_offsets");
        int start = offsets[0].GetInt32();
        return Expected.Value.File.AsSpan(Expected.Value.Data + start, offsets[1].GetInt32() - start);
    }

    private static string FindFolder()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string path = Path.Combine(folder.FullName, "tests", "fixtures", "mllm", "image-preprocess");
            if (Directory.Exists(path))
            {
                return path;
            }
        }

        throw new DirectoryNotFoundException($"no folder above {AppContext.BaseDirectory} holds tests/fixtures/mllm/image-preprocess");
    }
}
