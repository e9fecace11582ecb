using System.Text;
using System.Text.Unicode;

namespace MetaQuery.Data;

/// <summary>Walks a prompt file: after each <see cref="MoveNext"/> either <see cref="Current"/> or <see cref="Error"/> is set.</summary>
internal sealed class PromptScanner : IDisposable
{
    private readonly string _path;
    private readonly PromptFormat _format;
    private readonly PromptLimits _limits;
    private readonly PromptLineReader _reader;
    private readonly JsonPromptParser _json;
    private readonly PromptIdTable _ids = new();
    private CsvPromptParser? _csv;
    private bool _started;

    public PromptScanner(string path, Stream stream, PromptFormat format, PromptLimits limits)
    {
        _path = path;
        _format = format;
        _limits = limits;
        _reader = new PromptLineReader(path, stream, limits.LineBytes(format));
        _json = new JsonPromptParser(limits);
    }

    public PromptLine? Current { get; private set; }

    public PromptLineError? Error { get; private set; }

    public long PromptCount { get; private set; }

    /// <summary>Of what was read; at the end, of the file.</summary>
    public long ByteLength => _reader.ByteLength;

    public string Sha256 => _reader.Sha256;

    public void Dispose()
    {
        _ids.Dispose();
        _reader.Dispose();
    }

    /// <returns>False at the file's end.</returns>
    /// <exception cref="PromptFileException">The file as a whole is not what its name says.</exception>
    public bool MoveNext()
    {
        Current = null;
        Error = null;
        if (!_started)
        {
            _started = true;
            Start();
        }

        while (_format == PromptFormat.Csv ? _csv is not null && _reader.TryPeekRecord(out PeekedRecord record) : _reader.TryPeekLine(out record))
        {
            long line = _reader.Line;
            PromptFields? fields = null;
            string? what;
            long errorLine = line;
            if (record.Fault != PeekFault.None)
            {
                what = Describe(record.Fault);
            }
            else if (FindInvalid(record.Bytes.Span) is string invalid)
            {
                what = invalid;
                errorLine = line + record.Bytes.Span[..InvalidAt(record.Bytes.Span)].Count((byte)'\n');
            }
            else
            {
                ReadOnlySpan<byte> bytes = WithoutCarriageReturn(record.Bytes.Span);
                if (IsBlank(bytes))
                {
                    _reader.Consume(record);
                    continue;
                }

                what = Parse(bytes, line, out fields);
            }

            // after an error a record's later lines are looked at by themselves: a stray quote costs one line, not the rest of the file
            _reader.Consume(record, firstLineOnly: what is not null);
            if (what is not null)
            {
                Error = new PromptLineError(errorLine, what);
                return true;
            }

            Current = fields!.ToPromptLine(line, PromptCount);
            PromptCount++;
            return true;
        }

        return false;
    }

    private void Start()
    {
        ReadOnlySpan<byte> head = _reader.Peek(3);
        if (head.StartsWith((ReadOnlySpan<byte>)[0xFF, 0xFE]) || head.StartsWith((ReadOnlySpan<byte>)[0xFE, 0xFF]))
        {
            throw new PromptFileException($"{_path}: is UTF-16; save it as UTF-8");
        }

        if (head.StartsWith((ReadOnlySpan<byte>)[0xEF, 0xBB, 0xBF]))
        {
            _reader.Skip(3);
        }

        if (_format == PromptFormat.Csv)
        {
            _csv = ReadCsvHeader();
        }
    }

    private CsvPromptParser? ReadCsvHeader()
    {
        while (_reader.TryPeekRecord(out PeekedRecord record))
        {
            string? what = record.Fault != PeekFault.None ? Describe(record.Fault) : FindInvalid(record.Bytes.Span);
            if (what is not null)
            {
                throw new PromptFileException($"{_path}, line {_reader.Line}: {what}");
            }

            ReadOnlySpan<byte> bytes = WithoutCarriageReturn(record.Bytes.Span);
            if (!IsBlank(bytes))
            {
                CsvPromptParser parser = CsvPromptParser.FromHeader(bytes, _limits, out what)
                    ?? throw new PromptFileException($"{_path}, line {_reader.Line}: {what}");
                _reader.Consume(record);
                return parser;
            }

            _reader.Consume(record);
        }

        return null;
    }

    private string? Parse(ReadOnlySpan<byte> bytes, long line, out PromptFields? fields)
    {
        fields = new PromptFields();
        string? what = _format switch
        {
            PromptFormat.JsonLines => _json.Parse(bytes, fields),
            PromptFormat.Csv => _csv!.Parse(bytes, fields),
            _ => fields.SetPrompt(Encoding.UTF8.GetString(bytes), _limits),
        };
        what ??= fields.CheckWhole();

        if (what is null && fields.Id is string id && !_ids.TryAdd(id, line, out long earlier))
        {
            what = $"the id \"{PromptFields.Shorten(id)}\" stands on line {earlier} already";
        }

        return what;
    }

    private string Describe(PeekFault fault) => fault == PeekFault.TooLong
        ? $"is longer than {_limits.LineBytes(_format)} bytes; a prompt may have {_limits.MaxPromptCharacters} characters"
            + (_format == PromptFormat.Csv ? " (is a quote not closed?)" : "")
        : "a quoted field is not closed before the file's end";

    private string? FindInvalid(ReadOnlySpan<byte> bytes)
    {
        if (Utf8.IsValid(bytes))
        {
            return null;
        }

        int at = InvalidAt(bytes);
        int column = at - (bytes[..at].LastIndexOf((byte)'\n') + 1) + 1;
        return $"the byte 0x{bytes[at]:X2} at column {column} (byte {_reader.Offset + at} of the file) is not UTF-8";
    }

    /// <summary>The first byte that no UTF-8 sequence can begin with or go on with.</summary>
    private static int InvalidAt(ReadOnlySpan<byte> bytes)
    {
        int at = 0;
        while (Rune.DecodeFromUtf8(bytes[at..], out _, out int length) == System.Buffers.OperationStatus.Done)
        {
            at += length;
        }

        return at;
    }

    private static ReadOnlySpan<byte> WithoutCarriageReturn(ReadOnlySpan<byte> line) => line is [.., (byte)'\r'] ? line[..^1] : line;

    private static bool IsBlank(ReadOnlySpan<byte> line) => !line.ContainsAnyExcept(" \t\r"u8);
}
