namespace MetaQuery.Farm;

/// <summary>Items as bytes, in portions that a journal's record or a call can hold.</summary>
internal static class ItemChunks
{
    /// <summary>Cuts what holds items into runs, in order and as they are asked for.</summary>
    /// <param name="all">What holds an item each.</param>
    /// <param name="itemOf">Its item.</param>
    /// <param name="most">Of a run; at least 1.</param>
    /// <param name="mostBytes">Of a run's items as <see cref="WorkItemCodec"/> writes them; an item that is larger by itself is a run of its own.</param>
    public static IEnumerable<IReadOnlyList<(T Holder, byte[] Item)>> Cut<T>(IEnumerable<T> all, Func<T, WorkItem> itemOf, int most, long mostBytes)
    {
        var run = new List<(T, byte[])>();
        long runBytes = 0;
        var writer = new WireWriter();
        foreach (T holder in all)
        {
            writer.Clear();
            WorkItemCodec.Write(writer, itemOf(holder));
            byte[] item = writer.ToArray();
            if (run.Count > 0 && (run.Count >= most || runBytes + item.Length > mostBytes))
            {
                yield return run;
                (run, runBytes) = ([], 0);
            }

            run.Add((holder, item));
            runBytes += item.Length;
        }

        if (run.Count > 0)
        {
            yield return run;
        }
    }
}
