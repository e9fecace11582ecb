using System.Runtime.CompilerServices;
using MetaQuery.Client;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;

namespace MetaQuery.Silo.Web;

/// <summary>
/// A job as multipart/form-data: a JSON part <c>job</c> (it may be missing), after it a file part <c>prompts</c>, and after that the pictures that its lines
/// name. Each is handed on as it comes and the body is never held whole.
/// </summary>
internal sealed class PromptUpload : IDisposable
{
    private const int MostJobBytes = 64 * 1024;

    private readonly MultipartBody _body;

    private PromptUpload(MultipartBody body, JobRequest job, string format, Stream prompts) => (_body, Job, Format, Prompts) = (body, job, format, prompts);

    /// <summary>All but the prompts.</summary>
    public JobRequest Job { get; }

    /// <summary><c>txt</c>, <c>jsonl</c> or <c>csv</c>.</summary>
    public string Format { get; }

    /// <summary>The file's bytes. Reading throws <see cref="ApiException"/> where the body is cut, too large or goes on after the file with what must come before it.</summary>
    public Stream Prompts { get; }

    /// <exception cref="ApiException">A part is missing, unknown or in the wrong place.</exception>
    public static async Task<PromptUpload> OpenAsync(HttpContext context, long mostBytes)
    {
        MultipartBody body = MultipartBody.Open(context, mostBytes);
        var job = new JobRequest();
        bool hasJob = false;
        while (await body.NextAsync(context.RequestAborted) is { } part)
        {
            switch (part.Name)
            {
                case "job" when !hasJob:
                    job = await ReadJobAsync(part, context.RequestAborted);
                    hasJob = true;
                    break;
                case "prompts":
                    return new PromptUpload(body, job, FormatOf(part, job), new PromptStream(body, part.Body));
                case var other:
                    throw ApiException.Invalid(
                        other, $"part \"{other}\" is not taken here; there are job (JSON, once), after it prompts (a file), and after that the pictures that its lines name", "unknown_field");
            }
        }

        throw ApiException.Invalid("prompts", "the body has no part named prompts: the file of prompts", "missing_field");
    }

    /// <summary>The pictures, once the prompts are read to their end. A part named <c>pictures</c> has its file name for a name, any other its own. Of one
    /// that is too large the beginning comes, so that the lines that name it fail alone.</summary>
    /// <exception cref="ApiException">The body is cut or too large.</exception>
    public async IAsyncEnumerable<UploadedPicture> ReadPicturesAsync([EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        while (await _body.NextAsync(cancellationToken) is { } part)
        {
            RefuseBefore(part);
            string name = part.Name == "pictures" ? part.FileName ?? throw ApiException.Invalid("pictures", "a part named pictures has no file name: what the prompts' lines name it") : part.Name;
            yield return new UploadedPicture(name, await part.ReadFirstAsync(UploadedPicture.MostBytes, cancellationToken));
        }
    }

    public void Dispose() => Prompts.Dispose();

    private static void RefuseBefore(MultipartPart part)
    {
        if (part.Name is "job" or "prompts")
        {
            throw ApiException.Invalid(part.Name, $"part \"{part.Name}\" comes after the file of prompts; job must come before it, and after it nothing but pictures");
        }
    }

    private static async Task<JobRequest> ReadJobAsync(MultipartPart part, CancellationToken cancellationToken)
    {
        JobRequest job = RequestBody.Parse(await part.ReadAsync(MostJobBytes, cancellationToken), FarmJson.Default.JobRequest);
        return job.Prompts is null ? job : throw ApiException.Invalid("prompts", "prompts come either in the job or as a file, not as both");
    }

    // of the name nothing but its ending is looked at
    private static string FormatOf(MultipartPart part, JobRequest job) => job.PromptsFormat ?? Path.GetExtension(part.FileName ?? "").ToLowerInvariant() switch
    {
        ".txt" => "txt",
        ".jsonl" or ".ndjson" => "jsonl",
        ".csv" => "csv",
        _ => throw ApiException.Invalid("prompts", "the prompt file's name must end in .txt, .jsonl or .csv, or prompts_format of the job say how it is written"),
    };

    /// <summary>The file's part; at its end it makes sure that nothing follows which would have had a say.</summary>
    private sealed class PromptStream(MultipartBody whole, Stream section) : Stream
    {
        private bool _ended;

        public override bool CanRead => true;
        public override bool CanSeek => false;
        public override bool CanWrite => false;
        public override long Length => throw new NotSupportedException();
        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            int count = _ended ? 0 : await section.ReadAsync(buffer, cancellationToken);
            if (count == 0 && buffer.Length > 0 && !_ended)
            {
                if (await whole.PeekAsync(cancellationToken) is { } next)
                {
                    RefuseBefore(next);
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
