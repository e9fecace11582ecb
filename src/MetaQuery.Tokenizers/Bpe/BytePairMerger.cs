using System.Buffers;

namespace MetaQuery.Tokenizers.Bpe;

/// <summary>Byte pair merging of one word: always the pair of lowest rank, the leftmost of equals.</summary>
internal sealed class BytePairMerger(MergeTable merges)
{
    // Below this length rescanning all pairs is faster than a heap; above it the rescans' n² would show.
    private const int ShortWordSymbols = 48;

    /// <summary>Merges in place.</summary>
    /// <returns>How many symbols are left, from the start of the span.</returns>
    public int Merge(Span<int> symbols) => symbols.Length <= ShortWordSymbols ? MergeShort(symbols) : MergeLong(symbols);

    private int MergeShort(Span<int> symbols)
    {
        var count = symbols.Length;
        Span<int> ranks = stackalloc int[ShortWordSymbols];
        Span<int> merged = stackalloc int[ShortWordSymbols];
        for (var index = 0; index + 1 < count; index++)
        {
            Look(symbols, index, ranks, merged);
        }

        while (count > 1)
        {
            var best = 0;
            for (var index = 1; index < count - 1; index++)
            {
                if (ranks[index] < ranks[best])
                {
                    best = index;
                }
            }

            if (ranks[best] == int.MaxValue)
            {
                break;
            }

            symbols[best] = merged[best];
            symbols[(best + 2)..count].CopyTo(symbols[(best + 1)..]);
            if (best + 2 < count)
            {
                ranks[(best + 2)..count].CopyTo(ranks[(best + 1)..]);
                merged[(best + 2)..count].CopyTo(merged[(best + 1)..]);
            }

            count--;
            if (best + 1 < count)
            {
                Look(symbols, best, ranks, merged);
            }

            if (best > 0)
            {
                Look(symbols, best - 1, ranks, merged);
            }
        }

        return count;
    }

    private void Look(Span<int> symbols, int index, Span<int> ranks, Span<int> merged)
    {
        var found = merges.TryGet(symbols[index], symbols[index + 1], out var rank, out merged[index]);
        ranks[index] = found ? rank : int.MaxValue;
    }

    // n log n: a linked list of symbols and a heap of pairs; stale heap entries are recognised by their merged id.
    private int MergeLong(Span<int> symbols)
    {
        var count = symbols.Length;
        var links = ArrayPool<int>.Shared.Rent(2 * count);
        var previous = links.AsSpan(0, count);
        var next = links.AsSpan(count, count);
        var pairs = new List<((int Position, int MergedId) Element, long Priority)>(count);
        for (var index = 0; index < count; index++)
        {
            previous[index] = index - 1;
            next[index] = index + 1 < count ? index + 1 : -1;
            if (index + 1 < count && merges.TryGet(symbols[index], symbols[index + 1], out var rank, out var mergedId))
            {
                pairs.Add(((index, mergedId), Priority(rank, index)));
            }
        }

        var heap = new PriorityQueue<(int Position, int MergedId), long>(pairs);

        while (heap.TryDequeue(out var pair, out _))
        {
            var (left, mergedId) = pair;
            var right = symbols[left] < 0 ? -1 : next[left];
            if (right < 0 || !merges.TryGet(symbols[left], symbols[right], out _, out var current) || current != mergedId)
            {
                continue;
            }

            symbols[left] = mergedId;
            symbols[right] = -1;
            next[left] = next[right];
            if (next[left] >= 0)
            {
                previous[next[left]] = left;
                Push(heap, symbols, left, next[left]);
            }

            if (previous[left] >= 0)
            {
                Push(heap, symbols, previous[left], left);
            }
        }

        ArrayPool<int>.Shared.Return(links);
        var kept = 0;
        foreach (var symbol in symbols)
        {
            if (symbol >= 0)
            {
                symbols[kept++] = symbol;
            }
        }

        return kept;
    }

    private void Push(PriorityQueue<(int Position, int MergedId), long> heap, Span<int> symbols, int left, int right)
    {
        if (right >= 0 && merges.TryGet(symbols[left], symbols[right], out var rank, out var mergedId))
        {
            heap.Enqueue((left, mergedId), Priority(rank, left));
        }
    }

    private static long Priority(int rank, int position) => ((long)rank << 32) | (uint)position;
}
