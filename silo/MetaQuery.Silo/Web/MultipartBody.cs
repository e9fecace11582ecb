using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Net.Http.Headers;

namespace MetaQuery.Silo.Web;

/// <summary>A body of multipart/form-data, part by part as it comes; all of its errors are the API's.</summary>
internal sealed class MultipartBody
{
    private const int MostParts = 100_000; // each leaves a name in memory
    private const int PartBytes = 1024; // what a part costs beyond its bytes

    private readonly MultipartReader _reader;
    private readonly long _mostBytes;
    private long _bytes;
    private int _parts;
    private MultipartPart? _peeked;

    private MultipartBody(MultipartReader reader, long mostBytes) => (_reader, _mostBytes) = (reader, mostBytes);

    /// <param name="context">Of a request that says it is multipart/form-data.</param>
    /// <param name="mostBytes">Of all parts together: their bytes, their headers and a kibibyte for each.</param>
    /// <exception cref="ApiException">It declares more, or names no boundary.</exception>
    public static MultipartBody Open(HttpContext context, long mostBytes)
    {
        if (context.Request.ContentLength > mostBytes)
        {
            throw RequestBody.TooLarge(mostBytes);
        }

        string boundary = HeaderUtilities.RemoveQuotes(MediaTypeHeaderValue.Parse(context.Request.ContentType).Boundary).Value ?? "";
        return boundary.Length is > 0 and <= 70 // RFC 2046, 5.1.1
            ? new MultipartBody(new MultipartReader(boundary, context.Request.Body) { HeadersCountLimit = 16, HeadersLengthLimit = 16 * 1024 }, mostBytes)
            : throw ApiException.Invalid("Content-Type", "multipart/form-data needs a boundary of 1 to 70 characters", "malformed");
    }

    /// <returns>The next part; null at the end. What is left of the one before is passed over.</returns>
    /// <exception cref="ApiException">The body is cut or malformed, too long or of too many parts, or a part has no name.</exception>
    public async Task<MultipartPart?> NextAsync(CancellationToken cancellationToken)
    {
        MultipartPart? next = await PeekAsync(cancellationToken);
        _peeked = null;
        return next;
    }

    /// <returns>What <see cref="NextAsync"/> gives next.</returns>
    public async Task<MultipartPart?> PeekAsync(CancellationToken cancellationToken)
    {
        if (_peeked is null)
        {
            try
            {
                _peeked = await _reader.ReadNextSectionAsync(cancellationToken) is { } section ? PartOf(section) : null;
            }
            catch (Exception exception) when (exception is InvalidDataException or IOException)
            {
                throw Malformed(exception);
            }
        }

        return _peeked;
    }

    private MultipartPart PartOf(MultipartSection section)
    {
        if (++_parts > MostParts)
        {
            throw ApiException.Invalid("body", $"the body has more than {MostParts} parts", "too_many_parts");
        }

        Count(PartBytes + (section.Headers?.Sum(header => header.Key.Length + header.Value.Sum(value => value?.Length ?? 0)) ?? 0));
        if (ContentDispositionHeaderValue.TryParse(section.ContentDisposition, out ContentDispositionHeaderValue? disposition)
            && HeaderUtilities.RemoveQuotes(disposition.Name).Value is { Length: > 0 and <= 1000 } name)
        {
            // filename* carries what a plain name cannot: letters beyond ASCII
            string? fileName = disposition.FileNameStar.Value is { Length: > 0 } star ? star : HeaderUtilities.RemoveQuotes(disposition.FileName).Value;
            if (fileName?.Length > 1000)
            {
                throw ApiException.Invalid("body", "a part's file name has more than 1000 characters", "malformed");
            }

            return new MultipartPart(name, fileName, new PartStream(this, section.Body));
        }

        throw ApiException.Invalid("body", "a part has no name", "malformed");
    }

    private void Count(int bytes)
    {
        if ((_bytes += bytes) > _mostBytes)
        {
            throw RequestBody.TooLarge(_mostBytes);
        }
    }

    private static ApiException Malformed(Exception exception) =>
        ApiException.Invalid("body", $"the multipart body is cut or malformed: {exception.Message.Split('\n')[0]}", "malformed");

    private sealed class PartStream(MultipartBody whole, Stream section) : Stream
    {
        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            try
            {
                int count = await section.ReadAsync(buffer, cancellationToken);
                whole.Count(count);
                return count;
            }
            catch (Exception exception) when (exception is InvalidDataException or IOException)
            {
                throw Malformed(exception);
            }
        }

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("a part is read asynchronously");
        public override void Flush() { }
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}

/// <summary>A part of a multipart body.</summary>
/// <param name="Name">Its field's.</param>
/// <param name="FileName">As the sender states it: to look things up by, never a path.</param>
/// <param name="Body">Its bytes, read once.</param>
internal sealed record MultipartPart(string Name, string? FileName, Stream Body)
{
    /// <exception cref="ApiException">It is longer than <paramref name="mostBytes"/>.</exception>
    public Task<byte[]> ReadAsync(long mostBytes, CancellationToken cancellationToken) => RequestBody.ReadBytesAsync(Body, null, mostBytes, cancellationToken);

    /// <summary>Reads it to its end and keeps its first bytes; the rest still counts towards the body's limit.</summary>
    public async Task<byte[]> ReadFirstAsync(int mostBytes, CancellationToken cancellationToken)
    {
        using var kept = new MemoryStream();
        byte[] piece = new byte[64 * 1024];
        for (int count; (count = await Body.ReadAsync(piece, cancellationToken)) > 0;)
        {
            kept.Write(piece, 0, (int)Math.Min(count, mostBytes - kept.Length));
        }

        return kept.ToArray();
    }
}
