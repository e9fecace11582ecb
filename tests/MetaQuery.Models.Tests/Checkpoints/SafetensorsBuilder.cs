using System.Text;

namespace MetaQuery.Models.Tests.Checkpoints;

/// <summary>Puts a safetensors file together from its header's text and its data.</summary>
static class SafetensorsBuilder
{
    public static byte[] Build(string header, byte[] data) => Build(Encoding.UTF8.GetBytes(header), data);

    public static byte[] Build(byte[] header, byte[] data) => [.. BitConverter.GetBytes((ulong)header.Length), .. header, .. data];

    /// <summary>A file with one float32 tensor "w" of that many elements.</summary>
    public static byte[] OneTensor(params float[] values) =>
        Build($$$"""{"w":{"dtype":"F32","shape":[{{{values.Length}}}],"data_offsets":[0,{{{values.Length * 4}}}]}}""", [.. values.SelectMany(BitConverter.GetBytes)]);
}
