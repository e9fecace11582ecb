using System.Text;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>The few samples that go onto the contact sheet: prompts spread evenly over the job, kept aside as their shards are finished.</summary>
internal sealed class ContactSheetPicks : IDisposable
{
    private const int MaxImagesPerPrompt = 8;
    private const string FileName = "contact-sheet.spool";

    private readonly SampleSpool? _kept;
    private readonly long _imageCount;
    private readonly int _imagesPerPrompt;
    private readonly int _shownPerPrompt;
    private readonly List<long> _prompts = [];
    private readonly SortedSet<long> _positions = [];

    /// <param name="workFolder">Where to keep them until the end.</param>
    /// <param name="promptCount">Prompts in the job.</param>
    /// <param name="imagesPerPrompt">Images of each.</param>
    /// <param name="most">Pictures on the sheet, at most; 0 for no sheet.</param>
    public ContactSheetPicks(string workFolder, long promptCount, int imagesPerPrompt, int most)
    {
        _imageCount = promptCount * imagesPerPrompt;
        _imagesPerPrompt = imagesPerPrompt;
        if (most == 0)
        {
            return;
        }

        _shownPerPrompt = Math.Min(Math.Min(imagesPerPrompt, MaxImagesPerPrompt), most);
        long shownPrompts = Math.Min(promptCount, most / _shownPerPrompt);
        for (long i = 0; i < shownPrompts; i++)
        {
            long prompt = (long)((UInt128)i * (ulong)promptCount / (ulong)shownPrompts);
            _prompts.Add(prompt);
            for (int sample = 0; sample < _shownPerPrompt; sample++)
            {
                _positions.Add((prompt * imagesPerPrompt) + sample);
            }
        }

        _kept = new SampleSpool(Path.Combine(workFolder, FileName), [.. _positions]);
    }

    /// <summary>Keeps a finished sample if it was picked.</summary>
    public void Keep(long position, ReadOnlySpan<byte> image, ReadOnlySpan<byte> caption)
    {
        if (_positions.Contains(position))
        {
            _kept?.Append(SpoolKind.Sample, position, image, caption, []);
        }
    }

    /// <summary>Positions that were picked but are not kept: given up, or in a finished shard. One that was damaged since is kept no more.</summary>
    public IReadOnlyList<long> FindMissing()
    {
        List<long> missing = [.. _positions.Where(position => _kept?.Read(position, out _) is not SpoolRead.Sound)];
        missing.ForEach(position => _kept?.Forget(position));
        return missing;
    }

    /// <summary>Makes what was kept last: before the shard that held it counts as finished.</summary>
    public void Flush() => _kept?.Flush();

    /// <summary>Draws the sheet from what was kept.</summary>
    /// <returns>Its path; null where nothing was kept.</returns>
    public string? Draw(string path)
    {
        if (_kept is null)
        {
            return null;
        }

        var groups = new List<ContactSheetGroup>();
        int shown = 0;
        foreach (long prompt in _prompts)
        {
            var images = new List<RgbImage>();
            string caption = "";
            for (int sample = 0; sample < _shownPerPrompt; sample++)
            {
                long position = (prompt * _imagesPerPrompt) + sample;
                if (_kept.KindOf(position) is not null) // a sample that was given up is missing here
                {
                    (byte[] image, byte[] text, _) = _kept.TryRead(position)!.Value;
                    images.Add(ImageDecoder.Decode(image));
                    caption = Encoding.UTF8.GetString(text);
                }
            }

            if (images.Count > 0)
            {
                groups.Add(new ContactSheetGroup(caption, images));
                shown += images.Count;
            }
        }

        if (groups.Count == 0)
        {
            return null;
        }

        AtomicFile.WriteAllBytes(path, PngEncoder.Encode(ContactSheet.Render(groups, _imageCount - shown)));
        return path;
    }

    public void Dispose() => _kept?.Dispose();
}
