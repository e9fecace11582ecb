namespace MetaQuery.Imaging;

/// <summary>A picture file that is malformed, truncated, animated, too large, or of a kind not read here.</summary>
public sealed class ImageFormatException(string message, Exception? inner = null) : Exception(message, inner)
{
    /// <summary>Never: the same bytes fail again.</summary>
    public bool IsTransient => false;
}

/// <summary>The system's libgd is missing or is not the one expected.</summary>
public sealed class ImageLibraryException(string message, Exception? inner = null) : Exception(message, inner)
{
    public bool IsTransient => false;
}
