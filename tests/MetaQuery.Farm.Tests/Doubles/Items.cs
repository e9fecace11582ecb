using System.Text;
using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>Shorthand for work items.</summary>
internal static class Items
{
    private static readonly ConditionIdentity Identity = new("toy-1", "toy-tokenizer", "{{ toy }}", "", 16, "bfloat16", "toy", 48);

    public static ConditionKey Key(string caption) => ConditionKey.Create(Identity, new ConditionRequest(caption));

    public static DenoiseItem Denoise(string job, long position, JobPriority priority = JobPriority.Bulk, bool alone = false) => new(
        job, position, $"{position:d9}", new PromptLine { Line = position + 1, Index = position, Prompt = $"prompt {position}" },
        new LineSettings(20, 4.5f, ""), 0, (ulong)position, Key($"prompt {position}"), Key(""), new ImageSize(8, 8), 4, ImageFormat.Png, 95)
    {
        Priority = priority,
        RunsAlone = alone,
    };

    public static EncodeItem Encode(string caption, JobPriority priority = JobPriority.Bulk, bool alone = false) =>
        new(Key(caption), new ConditionRequest(caption), KeepOnDisk: false) { Priority = priority, RunsAlone = alone };

    /// <summary>An image whose line has other fields of this many bytes.</summary>
    public static DenoiseItem WithOtherFields(string job, long position, int bytes)
    {
        DenoiseItem item = Denoise(job, position);
        return item with
        {
            Prompt = new PromptLine
            {
                Line = item.Prompt.Line,
                Index = item.Prompt.Index,
                Prompt = item.Prompt.Prompt,
                OtherFields = Encoding.ASCII.GetBytes($"\"a\":\"{new string('x', bytes - 6)}\""),
            },
        };
    }

    /// <summary>Guided by two pictures; otherwise as <see cref="Denoise"/>'s seventh of job j.</summary>
    public static DenoiseItem WithPictures()
    {
        DenoiseItem item = Denoise("j", 7);
        return item with
        {
            Prompt = new PromptLine
            {
                Line = item.Prompt.Line,
                Index = item.Prompt.Index,
                Prompt = item.Prompt.Prompt,
                Pictures = [new LinePicture(new string('a', 64), 300, 200), new LinePicture(new string('b', 64), 1, 2)],
            },
            Settings = item.Settings with { ImageGuidanceScale = 2.5f },
            ImageCondition = Key("images"),
        };
    }

    /// <summary>With every field set to something that is not its default.</summary>
    public static DenoiseItem Full() => new(
        "job_01", 1_234_567, "00000_000123456",
        new PromptLine
        {
            Line = 7,
            Index = 5,
            Prompt = "ein Bär mit Hut 🐻",
            Id = "42",
            IdIsNumber = true,
            Seed = ulong.MaxValue,
            NumInferenceSteps = 30,
            GuidanceScale = 2.5f,
            NegativePrompt = "blurry",
            OtherFields = Encoding.UTF8.GetBytes("\"weight\": 0.50"),
        },
        new LineSettings(30, 2.5f, "blurry"), 3, 0x0123456789abcdef, Key("a bear"), Key("blurry"), new ImageSize(512, 768), 32, ImageFormat.Webp, 80)
    {
        Priority = JobPriority.Interactive,
        Attempt = 2,
        RunsAlone = true,
        RunsSingly = true,
        Timeout = TimeSpan.FromSeconds(90),
    };
}
