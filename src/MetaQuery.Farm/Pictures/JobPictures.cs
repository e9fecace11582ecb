using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>The pictures of one job's prompts, as they were when it was taken.</summary>
/// <param name="index">Per prompt.</param>
/// <param name="digest">SHA-256 over all of them, lower-case hex.</param>
/// <param name="prompts">Prompts that name pictures.</param>
/// <param name="faultCount">Of these: prompts that cannot be made.</param>
/// <param name="faults">The first of them, a line each.</param>
internal sealed class JobPictures(PictureIndex index, string digest, long prompts, long faultCount, IReadOnlyList<string> faults)
{
    public string Digest => digest;

    public long PromptCount => prompts;

    public long FaultCount => faultCount;

    public IReadOnlyList<string> Faults => faults;

    /// <summary>A new walk along the prompts.</summary>
    public PictureWalk Walk() => new(index);

    /// <summary>Every hash, as often as prompts name it.</summary>
    public static IEnumerable<string> Hashes(PictureIndex index) => index.Read().SelectMany(record => record.Pictures.Pictures).Select(picture => picture.Sha256);

    /// <summary>Keeps all pictures, which were only looked at before.</summary>
    /// <exception cref="PromptFileException">One is another by now.</exception>
    /// <exception cref="StorageException">One could not be kept.</exception>
    public void Keep(PromptSource source, Func<string, byte[]> open, IPictureKeeper keeper, CancellationToken cancellationToken)
    {
        var kept = new HashSet<string>(StringComparer.Ordinal);
        using PictureWalk walk = Walk();
        foreach (PromptLine line in source.Read())
        {
            cancellationToken.ThrowIfCancellationRequested();
            IReadOnlyList<LinePicture> pictures = walk.Of(line).Pictures;
            for (int i = 0; i < pictures.Count; i++)
            {
                if (kept.Add(pictures[i].Sha256))
                {
                    PictureIntake.Keep(line.Images[i], pictures[i], open, keeper);
                }
            }
        }
    }
}

/// <summary>Goes along an index beside the prompts it was written for. Not thread-safe.</summary>
internal sealed class PictureWalk(PictureIndex index) : IDisposable
{
    private readonly IEnumerator<(long PromptIndex, LinePictures Pictures)> _records = index.Read().GetEnumerator();

    /// <param name="line">The next prompt.</param>
    /// <exception cref="PromptFileException">The index is not of these prompts, or cannot be read.</exception>
    public LinePictures Of(PromptLine line)
    {
        if (line.Images.Count == 0)
        {
            return new LinePictures([], null);
        }

        return _records.MoveNext() && _records.Current.PromptIndex == line.Index
            ? _records.Current.Pictures
            : throw new PromptFileException($"line {line.Line}: its pictures are not among those that were kept when the job was taken");
    }

    public void Dispose() => _records.Dispose();
}
