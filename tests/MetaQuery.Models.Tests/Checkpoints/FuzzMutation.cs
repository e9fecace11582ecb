using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace MetaQuery.Models.Tests.Checkpoints;

/// <summary>A small well-formed checkpoint, and where its fields stand.</summary>
public sealed record FuzzFile(string Name, byte[] Bytes, bool IsGguf, IReadOnlyList<Field> Fields);

/// <summary>One way to spoil a file: everything follows from these numbers, so that a failure can be run again.</summary>
/// <param name="File">Index of the file.</param>
/// <param name="IsStructureAware">Aims at a length, an offset, a dtype, a shape or a count, rather than at any byte.</param>
/// <param name="Edits">Pairs of a place and a value, both taken modulo what there is.</param>
/// <param name="KeepsHeaderLength">safetensors: the length field is set right again after the edits, so that they are reached.</param>
public sealed record FuzzMutation(int File, bool IsStructureAware, (uint Place, uint Value)[] Edits, bool KeepsHeaderLength);

/// <summary>Applies mutations.</summary>
static partial class FuzzMutator
{
    static readonly ulong[] Numbers =
    [
        0, 1, 2, 3, 7, 8, 12, 13, 31, 32, 33, 64, 255, 256, 1 << 16, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 1UL << 40, 1UL << 61, 1UL << 62,
        long.MaxValue, 1UL << 63, ulong.MaxValue - 7, ulong.MaxValue,
    ];

    static readonly string[] Words =
    [
        "-1", "1e3", "1.0", "-0", "007", "null", "true", "NaN", "[]", "{}", "\"\"", "\"F32\"", "\"F8_E4M3\"", "\"BOOL\"", "\"U64\"", "\"F4\"", "\"f32\"",
        "18446744073709551616", "\"\\ud800\"", "[[[[[[[[[[", "[0,0]", ",", "}", ":", "\u00e9", "\"w\":", "\"dtype\":\"F64\",",
    ];

    public static byte[] Apply(FuzzMutation mutation, FuzzFile file)
    {
        if (!mutation.IsStructureAware)
            return AnyBytes((byte[])file.Bytes.Clone(), mutation.Edits);
        return file.IsGguf ? GgufFields(file, mutation.Edits) : SafetensorsFields(file.Bytes, mutation);
    }

    /// <summary>Overwrites, cuts, doubles and inserts, anywhere.</summary>
    static byte[] AnyBytes(byte[] bytes, (uint Place, uint Value)[] edits)
    {
        foreach (var (place, value) in edits)
        {
            if (bytes.Length == 0)
                return bytes;
            int at = (int)(place % (uint)bytes.Length), length = (int)(value >> 16 & 31);
            switch (value & 7)
            {
                case 0:
                    bytes = bytes[..at];
                    break;
                case 1:
                    bytes = [.. bytes[..at], .. bytes[Math.Min(bytes.Length, at + length)..]];
                    break;
                case 2:
                    bytes = [.. bytes[..at], .. bytes[at..Math.Min(bytes.Length, at + length)], .. bytes[at..]];
                    break;
                case 3:
                    bytes[at] ^= (byte)(1 << (int)(value >> 8 & 7));
                    break;
                default:
                    bytes[at] = (byte)(value >> 8);
                    break;
            }
        }
        return bytes;
    }

    /// <summary>Puts a telling number into a field of a GGUF file: no field moves, so the others keep their places.</summary>
    static byte[] GgufFields(FuzzFile file, (uint Place, uint Value)[] edits)
    {
        byte[] bytes = (byte[])file.Bytes.Clone();
        foreach (var (place, value) in edits)
        {
            var field = file.Fields[(int)(place % (uint)file.Fields.Count)];
            ulong old = field.Bytes == 8 ? BinaryPrimitives.ReadUInt64LittleEndian(bytes.AsSpan(field.At)) : field.Bytes == 4 ? BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(field.At)) : bytes[field.At];
            ulong now = Number(old, value, bytes.Length);
            for (int i = 0; i < field.Bytes; i++)
                bytes[field.At + i] = (byte)(now >> (8 * i));
        }
        return bytes;
    }

    static ulong Number(ulong old, uint value, int fileBytes) => (value & 7) switch
    {
        0 => old + 1,
        1 => old - 1,
        2 => old + 32,
        3 => (ulong)fileBytes - (value >> 8 & 63),
        4 => value >> 8 & 63,
        _ => Numbers[(value >> 8) % (uint)Numbers.Length],
    };

    /// <summary>Rewrites numbers, strings and brackets of a safetensors header, or its length field.</summary>
    static byte[] SafetensorsFields(byte[] bytes, FuzzMutation mutation)
    {
        int headerBytes = (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        string header = Encoding.UTF8.GetString(bytes, 8, headerBytes);
        ulong length = (ulong)headerBytes;
        foreach (var (place, value) in mutation.Edits)
        {
            var tokens = Token().Matches(header);
            if (place % 16 == 0 || tokens.Count == 0)
            {
                length = Number(length, value, bytes.Length);
                continue;
            }
            var token = tokens[(int)(place % (uint)tokens.Count)];
            bool isNumber = ulong.TryParse(token.Value, CultureInfo.InvariantCulture, out ulong old);
            string text = isNumber && value % 3 != 0 ? Number(old, value >> 2, bytes.Length).ToString(CultureInfo.InvariantCulture)
                : value % 5 == 0 ? tokens[(int)((value >> 8) % (uint)tokens.Count)].Value
                : Words[(value >> 8) % (uint)Words.Length];
            header = header[..token.Index] + text + header[(token.Index + token.Length)..];
        }
        byte[] rewritten = Encoding.UTF8.GetBytes(header);
        return [.. BitConverter.GetBytes(mutation.KeepsHeaderLength ? (ulong)rewritten.Length : length), .. rewritten, .. bytes[(8 + headerBytes)..]];
    }

    [GeneratedRegex("""[0-9]+|"[^"]*"|[\[\]{},:]""", RegexOptions.None, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Token();
}
