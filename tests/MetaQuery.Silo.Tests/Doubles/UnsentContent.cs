using System.Net;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>A large body that is sent only once the server asks for it (<c>Expect: 100-continue</c>), and remembers whether it was.</summary>
internal sealed class UnsentContent : HttpContent
{
    private UnsentContent(string mediaType) => Headers.ContentType = System.Net.Http.Headers.MediaTypeHeaderValue.Parse(mediaType);

    public bool WasAskedFor { get; private set; }

    /// <param name="path">Where to.</param>
    /// <param name="mediaType">What it says it is.</param>
    /// <param name="key">The caller's.</param>
    public static (HttpRequestMessage Request, UnsentContent Body) Post(string path, string mediaType, string key)
    {
        var body = new UnsentContent(mediaType);
        var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = body };
        request.Headers.ExpectContinue = true;
        request.Headers.Authorization = new("Bearer", key);
        return (request, body);
    }

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
    {
        WasAskedFor = true;
        await stream.WriteAsync(new byte[1 << 20]);
    }

    protected override bool TryComputeLength(out long length)
    {
        length = 1 << 20;
        return true;
    }
}
