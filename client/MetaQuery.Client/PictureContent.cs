using System.Net;
using System.Net.Http.Headers;

namespace MetaQuery.Client;

/// <summary>A picture as a part of a multipart body, opened when it is sent.</summary>
internal sealed class PictureContent : HttpContent
{
    private readonly PictureUpload _picture;

    public PictureContent(PictureUpload picture)
    {
        _picture = picture;
        // filename* alone: a plain name takes ASCII, and a line may name a picture by any letters
        Headers.ContentDisposition = new ContentDispositionHeaderValue("form-data") { Name = "pictures", FileNameStar = picture.Name };
    }

    protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
    {
        Stream file = _picture.Open();
        await using (file.ConfigureAwait(false))
        {
            await file.CopyToAsync(stream).ConfigureAwait(false);
        }
    }

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }
}
