using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography;

namespace MetaQuery.Client;

public sealed partial class FarmClient
{
    private const int DownloadTries = 5;

    /// <summary>Downloads one of a job's files. What an earlier try left is gone on with; where the farm knows the file's sha256, it is checked.</summary>
    /// <param name="folder">Gets the file under its own name, once it is whole.</param>
    /// <param name="progress">Told the bytes that are here.</param>
    /// <returns>The file's path, and whether it was here already.</returns>
    /// <exception cref="FarmDownloadException">What came is not what the farm has.</exception>
    /// <exception cref="IOException">The folder cannot be written to.</exception>
    public async Task<(string Path, bool WasHere)> DownloadAsync(string id, JobFile file, string folder, IProgress<long>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(file);
        if (file.Name.Length == 0 || file.Name != Path.GetFileName(file.Name) || file.Name is "." or "..")
        {
            throw new FarmClientException($"{Server}: \"{file.Name}\" is no file name"); // a server must not choose where we write
        }

        string path = Path.Combine(folder, file.Name);
        if (file.Sha256 is not null && new FileInfo(path) is { Exists: true } here && here.Length == file.Bytes && await HashAsync(path, cancellationToken).ConfigureAwait(false) == file.Sha256)
        {
            return (path, true);
        }

        // named after its content: what is left of another version of the file is never gone on with
        string part = Path.Combine(folder, $".{file.Name}.{file.Sha256?[..16] ?? "new"}.part");
        if (file.Sha256 is null)
        {
            File.Delete(part);
        }

        for (int tries = 1; ; tries++)
        {
            try
            {
                await FetchAsync(id, file, part, progress, cancellationToken).ConfigureAwait(false);
                break;
            }
            catch (FarmClientException exception) when (exception.IsTransient && tries < DownloadTries)
            {
                await Task.Delay((exception as FarmApiException)?.RetryAfter ?? FirstPause * tries, cancellationToken).ConfigureAwait(false);
            }
        }

        if (file.Sha256 is { } expected && await HashAsync(part, cancellationToken).ConfigureAwait(false) is var sha256 && sha256 != expected)
        {
            File.Delete(part);
            throw new FarmDownloadException($"{file.Name}: what came has sha256 {sha256}, the farm's has {expected}; download it again");
        }

        File.Move(part, path, overwrite: true);
        return (path, false);
    }

    private async Task FetchAsync(string id, JobFile file, string part, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        long have = new FileInfo(part) is { Exists: true } left ? left.Length : 0;
        if (have == file.Bytes && file.Sha256 is not null)
        {
            return;
        }

        using HttpResponseMessage answer = await SendAsync(
            () =>
            {
                var request = new HttpRequestMessage(HttpMethod.Get, JobPath(id, "files/" + Uri.EscapeDataString(file.Name)));
                if (have > 0 && have < file.Bytes && file.Sha256 is not null)
                {
                    request.Headers.Range = new RangeHeaderValue(have, null);
                    request.Headers.IfRange = new RangeConditionHeaderValue(new EntityTagHeaderValue($"\"{file.Sha256}\""));
                }

                return request;
            },
            HttpCompletionOption.ResponseHeadersRead, Patience, cancellationToken).ConfigureAwait(false);
        bool goesOn = answer.StatusCode == HttpStatusCode.PartialContent;
        var target = new FileStream(part, goesOn ? FileMode.Append : FileMode.Create, FileAccess.Write, FileShare.None);
        await using (target.ConfigureAwait(false))
        {
            await CopyAsync(answer, target, goesOn ? have : 0, progress, cancellationToken).ConfigureAwait(false);
        }
    }

    private async Task CopyAsync(HttpResponseMessage answer, FileStream target, long have, IProgress<long>? progress, CancellationToken cancellationToken)
    {
        byte[] piece = new byte[128 * 1024];
        for (int count; (count = await ReadAsync(answer, piece, cancellationToken).ConfigureAwait(false)) > 0;)
        {
            await target.WriteAsync(piece.AsMemory(0, count), cancellationToken).ConfigureAwait(false);
            progress?.Report(have += count);
        }
    }

    // apart from writing: a connection that was reset is tried again, a folder that takes nothing is not
    private async Task<int> ReadAsync(HttpResponseMessage answer, byte[] piece, CancellationToken cancellationToken)
    {
        try
        {
            Stream source = await answer.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
            return await source.ReadAsync(piece, cancellationToken).AsTask().WaitAsync(Silence, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException or TimeoutException)
        {
            throw new FarmUnreachableException(Server, exception);
        }
    }

    private static async Task<string> HashAsync(string path, CancellationToken cancellationToken)
    {
        FileStream file = File.OpenRead(path);
        await using (file.ConfigureAwait(false))
        {
            return Convert.ToHexStringLower(await SHA256.HashDataAsync(file, cancellationToken).ConfigureAwait(false));
        }
    }
}
