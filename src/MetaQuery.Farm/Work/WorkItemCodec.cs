using MetaQuery.Data;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>A work item as bytes, for queues and journals. Version 1, frozen by a test.</summary>
/// <remarks>
/// Version, kind (1 encode, 2 denoise), priority, flags, attempt, then the item's own fields in the order of their declaration. What came later has
/// a flag of its own and stands behind what was there: an item without it is written as before, and one with it is refused by older workers.
/// </remarks>
public static class WorkItemCodec
{
    public const byte Version = 1;

    private const byte Encode = 1;
    private const byte Denoise = 2;

    [Flags]
    private enum ItemFlags : byte { None = 0, RunsAlone = 1, RunsSingly = 2, KeepOnDisk = 4, Pictures = 8, EncodeTimeout = 16 }

    [Flags]
    private enum LineFlags : byte { None = 0, Id = 1, IdIsNumber = 2, Seed = 4, Steps = 8, Guidance = 16, NegativePrompt = 32, ImageGuidance = 64 }

    public static byte[] ToBytes(WorkItem item)
    {
        var writer = new WireWriter();
        Write(writer, item);
        return writer.ToArray();
    }

    public static void Write(WireWriter writer, WorkItem item)
    {
        ArgumentNullException.ThrowIfNull(writer);
        ArgumentNullException.ThrowIfNull(item);
        writer.Byte(Version);
        writer.Byte(item is EncodeItem ? Encode : Denoise);
        writer.Byte((byte)item.Priority);
        writer.Byte((byte)(When(item.RunsAlone, ItemFlags.RunsAlone) | When(item.RunsSingly, ItemFlags.RunsSingly)
            | When(item is EncodeItem { KeepOnDisk: true }, ItemFlags.KeepOnDisk) | When(HasPictures(item), ItemFlags.Pictures)
            | When(item is EncodeItem { Timeout: not null }, ItemFlags.EncodeTimeout)));
        writer.Number(item.Attempt);
        switch (item)
        {
            case EncodeItem encode:
                writer.Key(encode.Key);
                writer.Text(encode.Request.Caption);
                writer.Number(encode.Request.ImageHashes.Count);
                foreach (string hash in encode.Request.ImageHashes)
                {
                    writer.Text(hash);
                }

                if (encode.Timeout is { } timeout)
                {
                    writer.Number(timeout.Ticks);
                }

                break;
            case DenoiseItem denoise:
                WriteDenoise(writer, denoise);
                break;
            default:
                throw new ArgumentException($"{item.GetType().Name} has no form as bytes", nameof(item));
        }
    }

    /// <exception cref="WireFormatException">The bytes are no item, or a newer version's.</exception>
    public static WorkItem Read(ReadOnlySpan<byte> bytes)
    {
        var reader = new WireReader(bytes, "a work item");
        WorkItem item = Read(ref reader);
        reader.End();
        return item;
    }

    public static WorkItem Read(ref WireReader reader)
    {
        reader.Version(Version);
        byte kind = reader.Byte();
        var priority = (JobPriority)reader.Byte();
        var flags = (ItemFlags)reader.Byte();
        int attempt = reader.Int32();
        if (priority is not (JobPriority.Bulk or JobPriority.Interactive))
        {
            throw reader.Wrong($"there is no priority {(int)priority}");
        }

        WorkItem item = kind switch
        {
            Encode => ReadEncode(ref reader, flags),
            Denoise => ReadDenoise(ref reader, flags.HasFlag(ItemFlags.Pictures)),
            _ => throw reader.Wrong($"there is no kind {kind}"),
        };
        return item with
        {
            Priority = priority,
            Attempt = attempt,
            RunsAlone = flags.HasFlag(ItemFlags.RunsAlone),
            RunsSingly = flags.HasFlag(ItemFlags.RunsSingly),
        };
    }

    private static bool HasPictures(WorkItem item) => item is DenoiseItem { Prompt.Pictures.Count: > 0 };

    private static EncodeItem ReadEncode(ref WireReader reader, ItemFlags flags)
    {
        ConditionKey key = reader.Key();
        string caption = reader.Text();
        int count = reader.Int32();
        var hashes = new List<string>();
        for (int i = 0; i < count; i++)
        {
            hashes.Add(reader.Text());
        }

        return new EncodeItem(key, new ConditionRequest(caption, hashes), flags.HasFlag(ItemFlags.KeepOnDisk))
        {
            Timeout = flags.HasFlag(ItemFlags.EncodeTimeout) ? TimeSpan.FromTicks(reader.Number()) : null,
        };
    }

    private static void WriteDenoise(WireWriter writer, DenoiseItem item)
    {
        writer.Text(item.JobId);
        writer.Number(item.Position);
        writer.Text(item.SampleKey);
        WriteLine(writer, item.Prompt);
        writer.Number(item.Settings.NumInferenceSteps);
        writer.Single(item.Settings.GuidanceScale);
        writer.Text(item.Settings.NegativePrompt);
        writer.Number(item.SampleIndex);
        writer.Bits(item.Seed);
        writer.Key(item.Condition);
        writer.Byte(item.Negative is null ? (byte)0 : (byte)1);
        if (item.Negative is { } negative)
        {
            writer.Key(negative);
        }

        writer.Number(item.Size.HeightPixels);
        writer.Number(item.Size.WidthPixels);
        writer.Number(item.BatchSize);
        writer.Number((int)item.Format);
        writer.Number(item.Quality);
        writer.Number(item.Timeout?.Ticks ?? 0);
        if (HasPictures(item))
        {
            writer.Number(item.Prompt.Pictures.Count);
            foreach (LinePicture picture in item.Prompt.Pictures)
            {
                writer.Picture(picture);
            }

            writer.Single(item.Settings.ImageGuidanceScale);
            writer.Byte(item.ImageCondition is null ? (byte)0 : (byte)1);
            if (item.ImageCondition is { } images)
            {
                writer.Key(images);
            }
        }
    }

    private static DenoiseItem ReadDenoise(ref WireReader reader, bool hasPictures)
    {
        string jobId = reader.Text();
        long position = reader.Number();
        string sampleKey = reader.Text();
        PromptLine line = ReadLine(ref reader);
        var settings = new LineSettings(reader.Int32(), reader.Single(), reader.Text());
        int sampleIndex = reader.Int32();
        ulong seed = reader.Bits();
        ConditionKey condition = reader.Key();
        ConditionKey? negative = reader.Byte() == 0 ? null : reader.Key();
        var size = new ImageSize(reader.Int32(), reader.Int32());
        int batchSize = reader.Int32();
        var format = (ImageFormat)reader.Int32();
        if (!Enum.IsDefined(format))
        {
            throw reader.Wrong($"there is no image format {(int)format}");
        }

        int quality = reader.Int32();
        long ticks = reader.Number();
        ConditionKey? images = null;
        if (hasPictures)
        {
            int count = reader.Int32();
            var pictures = new List<LinePicture>();
            for (int i = 0; i < count; i++)
            {
                pictures.Add(reader.Picture());
            }

            line = new LinePictures(pictures, null).On(line);
            settings = settings with { ImageGuidanceScale = reader.Single() };
            images = reader.Byte() == 0 ? null : reader.Key();
        }

        return new DenoiseItem(
            jobId, position, sampleKey, line, settings, sampleIndex, seed, condition, negative, size, batchSize, format, quality)
        {
            Timeout = ticks == 0 ? null : TimeSpan.FromTicks(ticks),
            ImageCondition = images,
        };
    }

    private static void WriteLine(WireWriter writer, PromptLine line)
    {
        writer.Byte((byte)(When(line.Id is not null, LineFlags.Id) | When(line.IdIsNumber, LineFlags.IdIsNumber) | When(line.Seed is not null, LineFlags.Seed)
            | When(line.NumInferenceSteps is not null, LineFlags.Steps) | When(line.GuidanceScale is not null, LineFlags.Guidance)
            | When(line.NegativePrompt is not null, LineFlags.NegativePrompt)
            | When(line.ImageGuidanceScale is not null, LineFlags.ImageGuidance)));
        writer.Number(line.Line);
        writer.Number(line.Index);
        writer.Text(line.Prompt);
        if (line.Id is not null)
        {
            writer.Text(line.Id);
        }

        if (line.Seed is { } seed)
        {
            writer.Bits(seed);
        }

        if (line.NumInferenceSteps is { } steps)
        {
            writer.Number(steps);
        }

        if (line.GuidanceScale is { } guidance)
        {
            writer.Single(guidance);
        }

        if (line.NegativePrompt is not null)
        {
            writer.Text(line.NegativePrompt);
        }

        if (line.ImageGuidanceScale is { } imageGuidance)
        {
            writer.Single(imageGuidance);
        }

        writer.Bytes(line.OtherFields.Span);
    }

    private static PromptLine ReadLine(ref WireReader reader)
    {
        var flags = (LineFlags)reader.Byte();
        return new PromptLine
        {
            Line = reader.Number(),
            Index = reader.Number(),
            Prompt = reader.Text(),
            Id = flags.HasFlag(LineFlags.Id) ? reader.Text() : null,
            IdIsNumber = flags.HasFlag(LineFlags.IdIsNumber),
            Seed = flags.HasFlag(LineFlags.Seed) ? reader.Bits() : null,
            NumInferenceSteps = flags.HasFlag(LineFlags.Steps) ? reader.Int32() : null,
            GuidanceScale = flags.HasFlag(LineFlags.Guidance) ? reader.Single() : null,
            NegativePrompt = flags.HasFlag(LineFlags.NegativePrompt) ? reader.Text() : null,
            ImageGuidanceScale = flags.HasFlag(LineFlags.ImageGuidance) ? reader.Single() : null,
            OtherFields = reader.Bytes().ToArray(),
        };
    }

    private static T When<T>(bool holds, T flag) where T : struct, Enum => holds ? flag : default;
}
