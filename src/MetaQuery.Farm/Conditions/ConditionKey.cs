using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace MetaQuery.Farm;

/// <summary>Names a condition: SHA-256 over everything that shapes it. A change of any part never meets an old entry.</summary>
/// <remarks>
/// The hashed bytes, version 1, frozen by a test: the text <c>metaquery-condition</c>, then each part as its length (int32,
/// little-endian) and its bytes (text as UTF-8, numbers as int32 little-endian), in the order version, model revision,
/// tokenizer, chat template, system prompt, N, dtype, numerics, condition bytes, caption, number of images, each image's hash.
/// </remarks>
public readonly struct ConditionKey : IEquatable<ConditionKey>
{
    public const int Version = 1;

    /// <summary>Length of <see cref="WriteTo"/>'s form.</summary>
    public const int SizeBytes = 32;

    private readonly UInt128 _high;
    private readonly UInt128 _low;

    private ConditionKey(ReadOnlySpan<byte> sha256)
    {
        _high = BinaryPrimitives.ReadUInt128BigEndian(sha256);
        _low = BinaryPrimitives.ReadUInt128BigEndian(sha256[16..]);
    }

    /// <summary>The first half of the hash: enough to tell a job's prompts apart (2^-88 for a million of them).</summary>
    public UInt128 Prefix => _high;

    public static ConditionKey Create(ConditionIdentity identity, ConditionRequest request) => new KeyMaker(identity).Create(request);

    /// <summary>Reads <see cref="ToString"/>'s form.</summary>
    /// <exception cref="FormatException">Not 64 hexadecimal digits.</exception>
    public static ConditionKey Parse(string digits)
    {
        ArgumentNullException.ThrowIfNull(digits);
        byte[] bytes = Convert.FromHexString(digits);
        return bytes.Length == SHA256.HashSizeInBytes
            ? new ConditionKey(bytes)
            : throw new FormatException($"a condition key has {2 * SHA256.HashSizeInBytes} hexadecimal digits, not {digits.Length}");
    }

    /// <summary>Reads <see cref="WriteTo"/>'s form.</summary>
    public static ConditionKey FromBytes(ReadOnlySpan<byte> sha256)
    {
        ArgumentOutOfRangeException.ThrowIfNotEqual(sha256.Length, SizeBytes);
        return new ConditionKey(sha256);
    }

    /// <summary>Writes the hash itself, <see cref="SizeBytes"/> bytes.</summary>
    public void WriteTo(Span<byte> sha256)
    {
        BinaryPrimitives.WriteUInt128BigEndian(sha256, _high);
        BinaryPrimitives.WriteUInt128BigEndian(sha256[16..], _low);
    }

    public bool Equals(ConditionKey other) => _high == other._high && _low == other._low;

    public override bool Equals(object? obj) => obj is ConditionKey other && Equals(other);

    public override int GetHashCode() => (int)(uint)_high;

    /// <summary>64 lower-case hexadecimal digits.</summary>
    public override string ToString() => $"{_high:x32}{_low:x32}";

    public static bool operator ==(ConditionKey left, ConditionKey right) => left.Equals(right);

    public static bool operator !=(ConditionKey left, ConditionKey right) => !left.Equals(right);

    /// <summary>Makes the keys of one identity. Not thread-safe.</summary>
    public sealed class KeyMaker
    {
        private readonly byte[] _identity;
        private byte[] _buffer;

        public KeyMaker(ConditionIdentity identity)
        {
            ArgumentNullException.ThrowIfNull(identity);
            using var parts = new MemoryStream();
            parts.Write("metaquery-condition"u8);
            Write(parts, Version);
            Write(parts, identity.ModelRevision);
            Write(parts, identity.Tokenizer);
            Write(parts, identity.ChatTemplate);
            Write(parts, identity.SystemPrompt);
            Write(parts, identity.QueryTokens);
            Write(parts, identity.Dtype);
            Write(parts, identity.Numerics);
            Write(parts, identity.ConditionBytes);
            _identity = parts.ToArray();
            _buffer = [.. _identity];
        }

        public ConditionKey Create(ConditionRequest request)
        {
            ArgumentNullException.ThrowIfNull(request);
            int most = _identity.Length + 12 + Encoding.UTF8.GetMaxByteCount(request.Caption.Length);
            if (request.ImageHashes.Count == 0)
            {
                if (_buffer.Length < most)
                {
                    Array.Resize(ref _buffer, most);
                }

                Span<byte> rest = _buffer.AsSpan(_identity.Length);
                int captionBytes = Encoding.UTF8.GetBytes(request.Caption, rest[4..]);
                BinaryPrimitives.WriteInt32LittleEndian(rest, captionBytes);
                BinaryPrimitives.WriteInt32LittleEndian(rest[(4 + captionBytes)..], 4);
                BinaryPrimitives.WriteInt32LittleEndian(rest[(8 + captionBytes)..], 0);
                return Hash(_buffer.AsSpan(0, _identity.Length + 12 + captionBytes));
            }

            using var parts = new MemoryStream(most);
            parts.Write(_identity);
            Write(parts, request.Caption);
            Write(parts, request.ImageHashes.Count);
            foreach (string hash in request.ImageHashes)
            {
                Write(parts, hash);
            }

            return Hash(parts.GetBuffer().AsSpan(0, (int)parts.Length));
        }

        private static ConditionKey Hash(ReadOnlySpan<byte> bytes)
        {
            Span<byte> sha256 = stackalloc byte[SHA256.HashSizeInBytes];
            SHA256.HashData(bytes, sha256);
            return new ConditionKey(sha256);
        }

        private static void Write(Stream parts, string text)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(text);
            WriteInt32(parts, bytes.Length);
            parts.Write(bytes);
        }

        private static void Write(Stream parts, int number)
        {
            WriteInt32(parts, sizeof(int));
            WriteInt32(parts, number);
        }

        private static void WriteInt32(Stream parts, int number)
        {
            Span<byte> bytes = stackalloc byte[sizeof(int)];
            BinaryPrimitives.WriteInt32LittleEndian(bytes, number);
            parts.Write(bytes);
        }
    }
}
