using System.Security.Cryptography;

namespace MetaQuery.Data;

/// <summary>Cuts a stream into lines, or into CSV records that span lines, in a buffer that is as large as the longest of them. Hashes what it reads.</summary>
internal sealed class PromptLineReader(string path, Stream stream, int maxLineBytes) : IDisposable
{
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private byte[] _buffer = new byte[1 << 18];
    private int _start;
    private int _end;
    private bool _atEnd;
    private string? _sha256;

    /// <summary>The number, from 1, of the line that starts where the reader stands.</summary>
    public long Line { get; private set; } = 1;

    /// <summary>The byte of the file where the reader stands, from 0.</summary>
    public long Offset { get; private set; }

    /// <summary>Bytes read so far; the file's length once it is read to its end.</summary>
    public long ByteLength { get; private set; }

    /// <summary>Of the whole file; it must be read to its end.</summary>
    public string Sha256 => _sha256 ?? throw new InvalidOperationException($"{path} has not been read to its end");

    /// <summary>Looks at the first bytes of what is left; fewer only at the file's end.</summary>
    public ReadOnlySpan<byte> Peek(int count)
    {
        while (_end - _start < count && Fill())
        {
        }

        return _buffer.AsSpan(_start, Math.Min(count, _end - _start));
    }

    /// <summary>Passes over bytes that hold no line break.</summary>
    public void Skip(int count)
    {
        _start += count;
        Offset += count;
    }

    /// <summary>Finds the next line without its line break and stays before it.</summary>
    /// <returns>False at the file's end.</returns>
    public bool TryPeekLine(out PeekedRecord record) => TryPeek(quotes: false, out record);

    /// <summary>Finds the next CSV record: up to the first line break outside quotes.</summary>
    public bool TryPeekRecord(out PeekedRecord record) => TryPeek(quotes: true, out record);

    /// <summary>Steps over a record, or over its first line alone.</summary>
    public void Consume(in PeekedRecord record, bool firstLineOnly = false)
    {
        if (record.Fault == PeekFault.TooLong && record.FirstLineLength < 0)
        {
            SkipOverlongLine();
            return;
        }

        bool first = firstLineOnly || record.Fault != PeekFault.None;
        int length = first ? record.FirstLineLength : record.TotalLength;
        Line += first ? 1 : record.LineCount;
        Skip(length);
    }

    public void Dispose()
    {
        _hash.Dispose();
        stream.Dispose();
    }

    private bool TryPeek(bool quotes, out PeekedRecord record)
    {
        int scanned = 0;
        int lines = 0;
        int firstLine = -1;
        bool open = false; // an odd number of quotes so far: escaped quotes come in pairs
        while (true)
        {
            ReadOnlySpan<byte> rest = _buffer.AsSpan(_start + scanned, _end - _start - scanned);
            int at = rest.IndexOf((byte)'\n');
            ReadOnlySpan<byte> piece = at < 0 ? rest : rest[..at];
            open ^= quotes && (piece.Count((byte)'"') & 1) != 0;
            scanned += piece.Length;
            if (at >= 0)
            {
                scanned++;
                lines++;
                firstLine = firstLine < 0 ? scanned : firstLine;
                if (!open)
                {
                    record = new PeekedRecord(_buffer.AsMemory(_start, scanned - 1), scanned, firstLine, lines, scanned - 1 > maxLineBytes ? PeekFault.TooLong : PeekFault.None);
                    return true;
                }
            }

            if (scanned > maxLineBytes + 2)
            {
                record = new PeekedRecord(default, scanned, firstLine, lines, PeekFault.TooLong);
                return true;
            }

            if (at < 0 && !Fill())
            {
                if (scanned == 0)
                {
                    record = default;
                    return false;
                }

                firstLine = firstLine < 0 ? scanned : firstLine;
                record = new PeekedRecord(_buffer.AsMemory(_start, scanned), scanned, firstLine, lines + 1, open ? PeekFault.QuoteNotClosed : PeekFault.None);
                return true;
            }
        }
    }

    private void SkipOverlongLine()
    {
        while (true)
        {
            int at = _buffer.AsSpan(_start, _end - _start).IndexOf((byte)'\n');
            if (at >= 0)
            {
                Skip(at + 1);
                break;
            }

            Skip(_end - _start);
            if (!Fill())
            {
                break;
            }
        }

        Line++;
    }

    private bool Fill()
    {
        if (_atEnd)
        {
            return false;
        }

        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            _end -= _start;
            _start = 0;
        }

        if (_end == _buffer.Length)
        {
            Array.Resize(ref _buffer, _buffer.Length * 2);
        }

        int read;
        try
        {
            read = stream.Read(_buffer, _end, _buffer.Length - _end);
        }
        catch (IOException exception)
        {
            throw new PromptFileException($"{path}: cannot be read: {exception.Message}", exception);
        }

        if (read == 0)
        {
            _atEnd = true;
            _sha256 = Convert.ToHexStringLower(_hash.GetHashAndReset());
            return false;
        }

        _hash.AppendData(_buffer, _end, read);
        ByteLength += read;
        _end += read;
        return true;
    }
}

internal enum PeekFault
{
    None,
    TooLong,
    QuoteNotClosed,
}

/// <param name="Bytes">Without the last line feed; valid until the reader reads on. Empty when too long.</param>
/// <param name="TotalLength">Bytes with the line feed.</param>
/// <param name="FirstLineLength">Bytes of its first line with the line feed; -1 where that line's end was not seen.</param>
/// <param name="LineCount">Lines that it spans.</param>
/// <param name="Fault">What is wrong with it as a whole.</param>
internal readonly record struct PeekedRecord(ReadOnlyMemory<byte> Bytes, int TotalLength, int FirstLineLength, int LineCount, PeekFault Fault);
