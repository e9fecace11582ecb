using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>Turns a picture into a sample's files: image with provenance, caption, json. No time, host or job id.</summary>
/// <param name="images">The model that made the picture.</param>
internal sealed class SampleMaker(ImageModelInfo images)
{
    public (byte[] Image, byte[] Caption, byte[] Json) Make(DenoiseItem item, RgbImage picture)
    {
        var metadata = new SampleMetadata
        {
            Key = item.SampleKey,
            Prompt = item.Prompt,
            SampleIndex = item.SampleIndex,
            Seed = item.Seed,
            NumInferenceSteps = item.Settings.NumInferenceSteps,
            GuidanceScale = item.Settings.GuidanceScale,
            WidthPixels = item.Size.WidthPixels,
            HeightPixels = item.Size.HeightPixels,
            ModelName = images.ModelName,
            ModelRevision = images.ModelRevision,
            NegativePrompt = item.Settings.NegativePrompt,
            ImageGuidanceScale = item.Prompt.Pictures.Count > 0 ? item.Settings.ImageGuidanceScale : null,
        };
        byte[] image = ImageEncoder.Encode(picture, item.Format, item.Quality, Provenance(item));
        byte[] json = metadata.ToJson(Convert.ToHexStringLower(SHA256.HashData(image)));
        return (image, Encoding.UTF8.GetBytes(item.Prompt.Prompt), json);
    }

    private List<ImageText> Provenance(DenoiseItem item)
    {
        LineSettings line = item.Settings;
        List<ImageText> texts =
        [
            new("Software", "MetaQuery.Farm"),
            new("prompt", Printable(item.Prompt.Prompt)),
            new("seed", item.Seed.ToString(CultureInfo.InvariantCulture)),
            new("sample_index", item.SampleIndex.ToString(CultureInfo.InvariantCulture)),
            new("steps", line.NumInferenceSteps.ToString(CultureInfo.InvariantCulture)),
            new("guidance", line.GuidanceScale.ToString("R", CultureInfo.InvariantCulture)),
            new("model", images.ModelName),
            new("model_revision", images.ModelRevision),
        ];
        if (line.IsGuided && line.NegativePrompt.Length > 0)
        {
            texts.Add(new ImageText("negative_prompt", Printable(line.NegativePrompt)));
        }

        if (item.Prompt.Pictures.Count > 0)
        {
            texts.Add(new ImageText("image_guidance", line.ImageGuidanceScale.ToString("R", CultureInfo.InvariantCulture)));
            texts.Add(new ImageText("images", string.Join(' ', item.Prompt.Pictures.Select(picture => picture.Sha256))));
        }

        return texts;
    }

    private static string Printable(string text) => text.Replace('\0', ' '); // a PNG text chunk ends at NUL
}
