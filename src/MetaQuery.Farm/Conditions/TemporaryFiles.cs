using System.Diagnostics;
using System.Globalization;

namespace MetaQuery.Farm;

/// <summary>Names for files that are still being written in a folder that processes of several machines share, so that what a killed one left can be told.</summary>
/// <remarks>A name is FINAL~HOST~PROCESS~START~NUMBER, START being when the process began, in UTC ticks.</remarks>
internal static class TemporaryFiles
{
    private static readonly TimeSpan OtherHostsAge = TimeSpan.FromHours(1); // a write takes milliseconds; clocks of machines may differ by minutes
    private static readonly TimeSpan StartTolerance = TimeSpan.FromSeconds(5); // a start time is derived from the uptime and moves with the clock
    private static readonly DateTime Started = StartOf(Environment.ProcessId) ?? DateTime.UtcNow;
    private static long s_number;

    public static string NameFor(string path) => string.Create(
        CultureInfo.InvariantCulture, $"{path}~{Host}~{Environment.ProcessId}~{Started.Ticks}~{Interlocked.Increment(ref s_number)}");

    /// <summary>Removes what processes that are gone left in a folder.</summary>
    public static void RemoveDead(string folder)
    {
        foreach (FileInfo file in new DirectoryInfo(folder).EnumerateFiles("*~*~*~*~*"))
        {
            string[] parts = file.Name.Split('~');
            if (int.TryParse(parts[^3], CultureInfo.InvariantCulture, out int process)
                && long.TryParse(parts[^2], CultureInfo.InvariantCulture, out long start)
                && (parts[^4] == Host ? IsGone(process, start) : DateTime.UtcNow - file.LastWriteTimeUtc > OtherHostsAge))
            {
                file.Delete();
            }
        }
    }

    private static string Host => Environment.MachineName.Replace('~', '-').Replace('/', '-');

    private static bool IsGone(int process, long start) =>
        StartOf(process) is not { } began || (began - new DateTime(start, DateTimeKind.Utc)).Duration() > StartTolerance;

    private static DateTime? StartOf(int process)
    {
        try
        {
            using var found = Process.GetProcessById(process);
            return found.StartTime.ToUniversalTime();
        }
        catch (Exception exception) when (exception is ArgumentException or InvalidOperationException)
        {
            return null; // no such process, or it ended just now
        }
    }
}
