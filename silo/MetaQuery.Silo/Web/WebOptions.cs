namespace MetaQuery.Silo.Web;

/// <summary>How a head is served.</summary>
public sealed record WebOptions
{
    /// <summary>Addresses to listen on; port 0 takes a free one.</summary>
    public IReadOnlyList<string> Urls { get; init; } = ["http://127.0.0.1:8080"];

    /// <summary>Origins whose pages may use the API (CORS), such as <c>https://farm.example.org</c>.</summary>
    public IReadOnlyList<string> AllowedOrigins { get; init; } = [];

    /// <summary>The server's own address as clients know it, where a proxy stands before it; null for what a request's Host says.</summary>
    public Uri? PublicUrl { get; init; }

    /// <summary>What signs addresses of pictures: 32 bytes that outlive a restart; null for one of this process.</summary>
    public byte[]? UrlSecret { get; init; }

    /// <summary>Longest JSON body.</summary>
    public long MaxBodyBytes { get; init; } = 8 << 20;

    /// <summary>Longest JSON body of a chat, pictures in base64 among it.</summary>
    public long MaxChatBodyBytes { get; init; } = 32 << 20;

    /// <summary>Who answers questions; null: nobody, and chat requests are refused.</summary>
    public ChatService? Chat { get; init; }

    /// <summary>Longest uploaded prompt file.</summary>
    public long MaxUploadBytes { get; init; } = 4L << 30;

    /// <summary>Longest request for pictures that brings pictures along.</summary>
    public long MaxPictureBytes { get; init; } = 64 << 20;

    /// <summary>Bytes of bodies with pictures, of edits and chats, that are in memory at a time, over all tenants; beyond it 429. One tenant with a key has half of them.
    /// Decoded, a body takes up to five times its bytes for a moment.</summary>
    public long MaxPictureBytesAtOnce { get; init; } = 1L << 30;

    /// <summary>Requests of one tenant; a burst of a tenth of it is taken at once. 0 for no limit.</summary>
    public int RequestsPerMinute { get; init; } = 6000;

    /// <summary>Requests for pictures that may wait at a time, over all tenants; beyond it 429.</summary>
    public int MaxWaitingRequests { get; init; } = 256;

    /// <summary>Of these, of one tenant with a key.</summary>
    public int MaxWaitingRequestsOfTenant { get; init; } = 64;

    /// <summary>Questions of one tenant with a key that may be asked at a time; over all tenants it is what <see cref="Chat"/> takes.</summary>
    public int MaxChatsOfTenant { get; init; } = 16;

    /// <summary>Event streams open at a time, over all tenants; beyond it 429.</summary>
    public int MaxEventStreams { get; init; } = 4096;

    /// <summary>Of these, of one tenant with a key.</summary>
    public int MaxEventStreamsOfTenant { get; init; } = 1024;

    /// <summary>How long a request for pictures waits before it gives up and its job is cancelled.</summary>
    public TimeSpan RequestTimeout { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>Between two comments that keep a quiet event stream open.</summary>
    public TimeSpan Heartbeat { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Least time between two events of one job to one client: ten a second.</summary>
    public TimeSpan EventInterval { get; init; } = TimeSpan.FromMilliseconds(100);

    /// <summary>Whether /metrics needs no key.</summary>
    public bool OpenMetrics { get; init; }
}
