using MetaQuery.Client;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Net.Http.Headers;

namespace MetaQuery.Silo.Web;

/// <summary>
/// A job as multipart/form-data: a JSON part <c>job</c> (it may be missing) and after it a file part <c>prompts</c>, which is handed on as it comes and never held whole.
/// </summary>
internal sealed class PromptUpload : IDisposable
{
    private const int MostJobBytes = 64 * 1024;

    private PromptUpload(JobRequest job, string format, Stream prompts) => (Job, Format, Prompts) = (job, format, prompts);

    /// <summary>All but the prompts.</summary>
    public JobRequest Job { get; }

    /// <summary><c>txt</c>, <c>jsonl</c> or <c>csv</c>.</summary>
    public string Format { get; }

    /// <summary>The file's bytes. Reading throws <see cref="ApiException"/> where the body is cut, too large or goes on after the file.</summary>
    public Stream Prompts { get; }

    /// <exception cref="ApiException">A part is missing, unknown or in the wrong place.</exception>
    public static async Task<PromptUpload> OpenAsync(HttpContext context, long mostBytes)
    {
        if (context.Request.ContentLength > mostBytes)
        {
            throw RequestBody.TooLarge(mostBytes);
        }

        string boundary = HeaderUtilities.RemoveQuotes(MediaTypeHeaderValue.Parse(context.Request.ContentType).Boundary).Value ?? "";
        if (boundary.Length is 0 or > 70) // RFC 2046, 5.1.1
        {
            throw ApiException.Invalid("Content-Type", "multipart/form-data needs a boundary of 1 to 70 characters", "malformed");
        }

        var reader = new MultipartReader(boundary, context.Request.Body) { HeadersCountLimit = 16, HeadersLengthLimit = 16 * 1024 };
        var job = new JobRequest();
        bool hasJob = false;
        while (await NextAsync(reader, context.RequestAborted) is { } section)
        {
            switch (NameOf(section))
            {
                case "job" when !hasJob:
                    job = await ReadJobAsync(section, context.RequestAborted);
                    hasJob = true;
                    break;
                case "prompts":
                    return new PromptUpload(job, FormatOf(section, job), new SectionStream(reader, section.Body, mostBytes));
                case var other:
                    throw ApiException.Invalid(other, $"part \"{other}\" is not taken here; there are job (JSON, once) and, after it, prompts (a file)", "unknown_field");
            }
        }

        throw ApiException.Invalid("prompts", "the body has no part named prompts: the file of prompts", "missing_field");
    }

    public void Dispose() => Prompts.Dispose();

    private static async Task<JobRequest> ReadJobAsync(MultipartSection section, CancellationToken cancellationToken)
    {
        try
        {
            JobRequest job = RequestBody.Parse(await RequestBody.ReadBytesAsync(section.Body, null, MostJobBytes, cancellationToken), FarmJson.Default.JobRequest);
            return job.Prompts is null ? job : throw ApiException.Invalid("prompts", "prompts come either in the job or as a file, not as both");
        }
        catch (Exception exception) when (exception is InvalidDataException or IOException)
        {
            throw Malformed(exception);
        }
    }

    private static string FormatOf(MultipartSection section, JobRequest job)
    {
        string? name = ContentDispositionHeaderValue.TryParse(section.ContentDisposition, out ContentDispositionHeaderValue? disposition)
            ? HeaderUtilities.RemoveQuotes(disposition.FileName).Value
            : null;

        // of the name nothing but its ending is looked at
        return job.PromptsFormat ?? Path.GetExtension(name ?? "").ToLowerInvariant() switch
        {
            ".txt" => "txt",
            ".jsonl" or ".ndjson" => "jsonl",
            ".csv" => "csv",
            _ => throw ApiException.Invalid("prompts", "the prompt file's name must end in .txt, .jsonl or .csv, or prompts_format of the job say how it is written"),
        };
    }

    private static string NameOf(MultipartSection section) =>
        ContentDispositionHeaderValue.TryParse(section.ContentDisposition, out ContentDispositionHeaderValue? disposition) && HeaderUtilities.RemoveQuotes(disposition.Name).Value is { Length: > 0 and <= 100 } name
            ? name
            : throw ApiException.Invalid("body", "a part has no name", "malformed");

    private static async Task<MultipartSection?> NextAsync(MultipartReader reader, CancellationToken cancellationToken)
    {
        try
        {
            return await reader.ReadNextSectionAsync(cancellationToken);
        }
        catch (Exception exception) when (exception is InvalidDataException or IOException)
        {
            throw Malformed(exception);
        }
    }

    private static ApiException Malformed(Exception exception) =>
        ApiException.Invalid("body", $"the multipart body is cut or malformed: {exception.Message.Split('\n')[0]}", "malformed");

    /// <summary>The file's part; at its end it makes sure that nothing follows which would have had a say.</summary>
    private sealed class SectionStream(MultipartReader reader, Stream section, long mostBytes) : Stream
    {
        private long _bytes;
        private bool _ended;

        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_ended)
            {
                return 0;
            }

            int count;
            try
            {
                count = await section.ReadAsync(buffer, cancellationToken);
            }
            catch (Exception exception) when (exception is InvalidDataException or IOException)
            {
                throw Malformed(exception);
            }

            if ((_bytes += count) > mostBytes)
            {
                throw RequestBody.TooLarge(mostBytes);
            }

            if (count == 0 && buffer.Length > 0)
            {
                if (await NextAsync(reader, cancellationToken) is { } next)
                {
                    throw ApiException.Invalid(NameOf(next), $"part \"{NameOf(next)}\" comes after the file of prompts; job must come before it, and nothing after it");
                }

                _ended = true;
            }

            return count;
        }

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) => ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        // Kestrel allows no reading that blocks; whoever reads this reads asynchronously
        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException("an upload is read asynchronously");
        public override void Flush() { }
        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
        public override void SetLength(long value) => throw new NotSupportedException();
        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
