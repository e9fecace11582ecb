namespace MetaQuery.Data;

/// <summary>Files that a user names and that are read from any place, or more than once.</summary>
public static class RegularFile
{
    /// <summary>Whether a path may be opened like a file: a pipe, a socket or a terminal can be read once at most, and opening one waits for its other end.</summary>
    /// <param name="path">What cannot be opened at all is left to who reads it.</param>
    public static bool MayBe(string path) => OperatingSystem.IsWindows() || UnixFile.IsSeekable(path);
}
