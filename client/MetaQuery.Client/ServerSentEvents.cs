using System.Runtime.CompilerServices;
using System.Text;

namespace MetaQuery.Client;

/// <summary>One event of a stream.</summary>
/// <param name="Id">The last id that was stated.</param>
internal readonly record struct ServerSentEvent(string Id, string Type, string Data);

/// <summary>Reads a stream of server-sent events (WHATWG HTML, 9.2.6).</summary>
internal static class ServerSentEvents
{
    private const int MostCharacters = 16 << 20;

    /// <param name="stream">UTF-8.</param>
    /// <param name="silence">Longest time without a line, comments included; a server's heartbeats are shorter.</param>
    /// <exception cref="TimeoutException">Nothing came for so long.</exception>
    /// <exception cref="InvalidDataException">An event is unreasonably long.</exception>
    public static async IAsyncEnumerable<ServerSentEvent> ReadAsync(Stream stream, TimeSpan silence, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        using var reader = new StreamReader(stream, Encoding.UTF8, detectEncodingFromByteOrderMarks: false, bufferSize: 16 * 1024, leaveOpen: true);
        string id = "", type = "";
        var data = new StringBuilder();
        while (await reader.ReadLineAsync(cancellationToken).AsTask().WaitAsync(silence, cancellationToken).ConfigureAwait(false) is { } line)
        {
            if (line.Length == 0)
            {
                if (data.Length > 0)
                {
                    yield return new ServerSentEvent(id, type.Length == 0 ? "message" : type, data.ToString(0, data.Length - 1));
                }

                type = "";
                data.Clear();
                continue;
            }

            int colon = line.IndexOf(':', StringComparison.Ordinal);
            string field = colon < 0 ? line : line[..colon];
            string value = colon < 0 ? "" : line[(colon + 1)..];
            value = value.StartsWith(' ') ? value[1..] : value;
            switch (field)
            {
                case "id" when !value.Contains('\0', StringComparison.Ordinal):
                    id = value;
                    break;
                case "event":
                    type = value;
                    break;
                case "data":
                    data.Append(value).Append('\n');
                    break;
            }

            if (data.Length > MostCharacters)
            {
                throw new InvalidDataException($"an event is longer than {MostCharacters} characters");
            }
        }
    }
}
