using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>Turns a picture into a sample's files: image with provenance, caption, json. No time, host or job id.</summary>
internal sealed class SampleMaker(JobPlan plan)
{
    public (byte[] Image, byte[] Caption, byte[] Json) Make(PlannedImage planned, RgbImage picture)
    {
        ResolvedSettings settings = plan.Settings;
        LineSettings line = planned.Prompt.Settings;
        var metadata = new SampleMetadata
        {
            Key = plan.Layout.Key(planned.Position),
            Prompt = planned.Prompt.Line,
            SampleIndex = planned.SampleIndex,
            Seed = planned.Seed,
            NumInferenceSteps = line.NumInferenceSteps,
            GuidanceScale = line.GuidanceScale,
            WidthPixels = settings.Size.WidthPixels,
            HeightPixels = settings.Size.HeightPixels,
            ModelName = plan.Images.ModelName,
            ModelRevision = plan.Images.ModelRevision,
            NegativePrompt = line.NegativePrompt,
        };
        byte[] image = ImageEncoder.Encode(picture, settings.Format, settings.Quality, Provenance(planned));
        byte[] json = metadata.ToJson(Convert.ToHexStringLower(SHA256.HashData(image)));
        return (image, Encoding.UTF8.GetBytes(planned.Prompt.Line.Prompt), json);
    }

    private List<ImageText> Provenance(PlannedImage planned)
    {
        LineSettings line = planned.Prompt.Settings;
        List<ImageText> texts =
        [
            new("Software", "MetaQuery.Farm"),
            new("prompt", Printable(planned.Prompt.Line.Prompt)),
            new("seed", planned.Seed.ToString(CultureInfo.InvariantCulture)),
            new("sample_index", planned.SampleIndex.ToString(CultureInfo.InvariantCulture)),
            new("steps", line.NumInferenceSteps.ToString(CultureInfo.InvariantCulture)),
            new("guidance", line.GuidanceScale.ToString("R", CultureInfo.InvariantCulture)),
            new("model", plan.Images.ModelName),
            new("model_revision", plan.Images.ModelRevision),
        ];
        if (line.IsGuided && line.NegativePrompt.Length > 0)
        {
            texts.Add(new ImageText("negative_prompt", Printable(line.NegativePrompt)));
        }

        return texts;
    }

    private static string Printable(string text) => text.Replace('\0', ' '); // a PNG text chunk ends at NUL
}
