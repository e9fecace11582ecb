using System.Text;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>The few samples that go onto the contact sheet: prompts spread evenly over the job, kept aside as their shards are finished.</summary>
internal sealed class ContactSheetPicks
{
    private const int MaxImagesPerPrompt = 8;
    private const string Folder = "contact-sheet";

    private readonly string? _folder;
    private readonly long _imageCount;
    private readonly int _imagesPerPrompt;
    private readonly int _shownPerPrompt;
    private readonly List<long> _prompts = [];
    private readonly HashSet<long> _positions = [];

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

        _folder = Path.Combine(workFolder, Folder);
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
    }

    /// <summary>Keeps a finished sample if it was picked.</summary>
    public void Keep(long position, ReadOnlySpan<byte> image, ReadOnlySpan<byte> caption)
    {
        if (_folder is null || !_positions.Contains(position))
        {
            return;
        }

        Directory.CreateDirectory(_folder);
        AtomicFile.WriteAllBytes(ImagePath(position), image);
        AtomicFile.WriteAllBytes(Path.ChangeExtension(ImagePath(position), ".txt"), caption);
    }

    /// <summary>Draws the sheet from what was kept.</summary>
    /// <returns>Its path; null where nothing was kept.</returns>
    public string? Draw(string path)
    {
        if (_folder is null)
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
                string image = ImagePath((prompt * _imagesPerPrompt) + sample);
                if (File.Exists(image)) // a sample that was given up is missing here
                {
                    images.Add(ImageDecoder.Decode(File.ReadAllBytes(image)));
                    caption = Encoding.UTF8.GetString(File.ReadAllBytes(Path.ChangeExtension(image, ".txt")));
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

    private string ImagePath(long position) => Path.Combine(_folder!, $"{position}.image");
}
