using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;

namespace MetaQuery.Models.Checkpoints;

/// <summary>Reads a GGUF header front to back. The buffer grows with what is really there, never with what a count in the file claims.</summary>
sealed class GgufCursor
{
    const int FirstReadBytes = 1 << 18;

    /// <summary>A header larger than this is no model's; it also keeps positions in 32 bits.</summary>
    const long LargestHeaderBytes = 1L << 30;

    readonly CheckpointFile file;
    int filled;

    public GgufCursor(CheckpointFile file)
    {
        this.file = file;
        Bytes = [];
    }

    /// <summary>The file's first bytes: all that was read so far, and more room behind it.</summary>
    public byte[] Bytes { get; private set; }

    public int Position { get; private set; }

    public long BytesLeft => file.Length - Position;

    /// <summary>What is being read, for error messages.</summary>
    public string Place { get; set; } = "the file's first bytes";

    public CheckpointException Error(string reason) => CheckpointException.OfFile(file.Path, reason);

    public uint ReadUInt32() => BinaryPrimitives.ReadUInt32LittleEndian(Take(sizeof(uint)));

    public ulong ReadUInt64() => BinaryPrimitives.ReadUInt64LittleEndian(Take(sizeof(ulong)));

    /// <summary>A length and that many bytes of UTF-8, taken out.</summary>
    public string ReadString(string what, int mostBytes)
    {
        int begin = SkipString(what);
        if (Position - begin > mostBytes)
            throw Error($"{what} has {Position - begin} bytes, at most {mostBytes} are allowed");
        return Encoding.UTF8.GetString(Bytes, begin, Position - begin);
    }

    /// <summary>Passes over a string, checking that it is UTF-8; returns where its text begins.</summary>
    public int SkipString(string what)
    {
        ulong length = ReadUInt64();
        if (length > (ulong)BytesLeft)
            throw Error($"{what} claims {length} bytes of text, the file has {BytesLeft} left");
        int begin = Position;
        if (!Utf8.IsValid(Take((long)length)))
            throw Error($"{what} is not valid UTF-8");
        return begin;
    }

    /// <summary>The next <paramref name="count"/> bytes; the span is good until the next call.</summary>
    public ReadOnlySpan<byte> Take(long count)
    {
        if (count > BytesLeft)
            throw Error($"the file ends at byte {file.Length}, inside {Place}");
        if (count > LargestHeaderBytes - Position)
            throw Error($"the metadata goes on beyond {LargestHeaderBytes} bytes");
        if (count > filled - Position)
            Fill(Position + (int)count);
        var taken = Bytes.AsSpan(Position, (int)count);
        Position += (int)count;
        return taken;
    }

    void Fill(int needed)
    {
        long wanted = Math.Max(needed, Math.Max(FirstReadBytes, 4L * filled));
        byte[] larger = GC.AllocateUninitializedArray<byte>((int)Math.Min(wanted, Math.Min(file.Length, LargestHeaderBytes)));
        Bytes.AsSpan(0, filled).CopyTo(larger);
        file.Read(filled, larger.AsSpan(filled));
        Bytes = larger;
        filled = larger.Length;
    }
}
