using System.Globalization;
using System.Security.Cryptography;
using MetaQuery.Client;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Net.Http.Headers;
using static MetaQuery.Silo.Web.Routes;

namespace MetaQuery.Silo.Web;

/// <summary>What a job has made: samples, their pictures, files to download.</summary>
internal sealed class OutputEndpoints(IFarm farm, ApiKeyRing keys, UrlSigner signer, Thumbnails thumbnails)
{
    private static readonly QueryParameter From = new("from", "First position wanted.", 0, long.MaxValue, 0);
    private static readonly QueryParameter Limit = new("limit", "Samples of a page.", 1, 500, 50);

    public void Map(IEndpointRouteBuilder routes)
    {
        routes.Add("GET", "/v1/jobs/{id}/samples", "listSamples", "Finished samples by position, also those not yet in a shard.", async (HttpContext context, string id) =>
        {
            SamplePage page = await farm.ListSamplesAsync(Caller.Job(context, id), From.Number(context), (int)Limit.Number(context), context.RequestAborted);
            return Answer(new SampleList(Wire.List, [.. page.Samples.Select(sample => Wire.Sample(sample, ImageUrl(id, sample.Position), ThumbnailUrl(id, sample.Position)))], page.NextPosition), FarmJson.Default.SampleList);
        }, From, Limit).Produces<SampleList>().Refuses(400, 404);

        routes.Add("GET", "/v1/jobs/{id}/samples/{position}", "getSample", "A sample with its provenance.", async (HttpContext context, string id, string position) =>
        {
            SampleContent content = await farm.ReadSampleAsync(Caller.Job(context, id), Position(position), context.RequestAborted);
            return Answer(Wire.Sample(content.Sample, ImageUrl(id, content.Sample.Position), ThumbnailUrl(id, content.Sample.Position)), FarmJson.Default.Sample);
        }).Produces<Sample>().Refuses(400, 404);

        MapImage("GET", "getImage").Produces(200, contentType: "image/png", additionalContentTypes: ["image/jpeg", "image/webp"]).Refuses(400, 404);
        MapImage("HEAD", "headImage").ExcludeFromDescription();

        RouteHandlerBuilder MapImage(string method, string name) => routes.Add(method, "/v1/jobs/{id}/samples/{position}/image", name, "A sample's picture.", async (HttpContext context, string id, string position) =>
        {
            SampleContent content = await farm.ReadSampleAsync(Caller.Job(context, id), Position(position), context.RequestAborted);
            context.Response.Headers.CacheControl = "private, max-age=3600";
            return TypedResults.Bytes(content.Image, content.MediaType, entityTag: Tag(Convert.ToHexStringLower(SHA256.HashData(content.Image.Span))), enableRangeProcessing: true);
        });

        routes.Add("GET", "/v1/jobs/{id}/samples/{position}/thumbnail", "getThumbnail", $"A sample's picture with no side longer than {Thumbnails.LongestSidePixels} pixels.", async (HttpContext context, string id, string position) =>
        {
            SampleContent content = await farm.ReadSampleAsync(Caller.Job(context, id), Position(position), context.RequestAborted);
            string sha256 = Convert.ToHexStringLower(SHA256.HashData(content.Image.Span));
            (ReadOnlyMemory<byte> image, string mediaType) = await thumbnails.OfAsync(content, sha256, context.RequestAborted);
            context.Response.Headers.CacheControl = "private, max-age=3600";
            return TypedResults.Bytes(image, mediaType, entityTag: Tag($"{sha256}-{Thumbnails.LongestSidePixels}"));
        }).Produces(200, contentType: "image/jpeg", additionalContentTypes: ["image/png", "image/webp"]).Refuses(400, 404);

        routes.Add("GET", "/v1/jobs/{id}/files", "listFiles", "What can be downloaded.", async (HttpContext context, string id) =>
        {
            IReadOnlyList<Farm.JobFile> files = await farm.ListFilesAsync(Caller.Job(context, id), context.RequestAborted);
            return Answer(new FileList(Wire.List, [.. files.Select(file => Wire.File(file, Url($"/v1/jobs/{Uri.EscapeDataString(id)}/files/{Uri.EscapeDataString(file.Name)}")))]), FarmJson.Default.FileList);
        }).Produces<FileList>().Refuses(404);

        // HEAD tells a downloader the size before it asks for ranges
        MapFile("GET", "getFile", "Downloads a file, whole or in ranges.").Produces(200, contentType: "application/octet-stream").Produces(206, contentType: "application/octet-stream").Refuses(404, 416);
        MapFile("HEAD", "headFile", "A file's length and tag.").Produces(200);

        RouteHandlerBuilder MapFile(string method, string name, string summary) =>
            routes.Add(method, "/v1/jobs/{id}/files/{name}", name, summary, async (HttpContext context, string id, string name) =>
            {
                JobReference job = Caller.Job(context, id);
                IReadOnlyList<Farm.JobFile> files = await farm.ListFilesAsync(job, context.RequestAborted);
                Farm.JobFile file = files.FirstOrDefault(known => known.Name == name) ?? throw ApiException.NotFound($"job {id} has no file of this name; /v1/jobs/{id}/files lists them", "name");
                Stream content = await farm.OpenFileAsync(job, file.Name, context.RequestAborted);
                return TypedResults.Stream(content, file.MediaType, file.Name, entityTag: file.Sha256 is { } sha256 ? Tag(sha256) : null, enableRangeProcessing: true);
            });
    }

    /// <summary>A picture's address, from the server's root.</summary>
    public string ImageUrl(string job, long position) => SampleUrl(job, position, "image");

    private string ThumbnailUrl(string job, long position) => SampleUrl(job, position, "thumbnail");

    private string SampleUrl(string job, long position, string what) => Url(string.Create(CultureInfo.InvariantCulture, $"/v1/jobs/{Uri.EscapeDataString(job)}/samples/{position}/{what}"));

    private string Url(string path) => keys.AreRequired ? signer.Sign(path) : path;

    private static EntityTagHeaderValue Tag(string sha256) => new($"\"{sha256}\"");

    private static long Position(string text) =>
        long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long position) ? position : throw ApiException.Invalid("position", "position must be a whole number from 0 on");
}
