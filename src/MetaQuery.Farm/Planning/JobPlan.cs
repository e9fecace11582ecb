using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A job checked against its model: settings with every default filled in, prompts counted, nothing kept per image.</summary>
/// <remarks>Memory is 8 bytes a prompt, for telling which captions come more than once.</remarks>
internal sealed class JobPlan
{
    private const long MaxShards = 1_000_000;

    private readonly ulong[] _repeatedCaptions;

    private JobPlan(PromptSource source, ResolvedSettings settings, ConditionIdentity conditions, ImageModelInfo images,
        ulong[] repeatedCaptions, long uniquePrompts, long uniqueNegativePrompts, JobPictures? pictures)
    {
        Pictures = pictures;
        Source = source;
        Settings = settings;
        Conditions = conditions;
        Images = images;
        _repeatedCaptions = repeatedCaptions;
        UniquePrompts = uniquePrompts;
        UniqueNegativePrompts = uniqueNegativePrompts;
        ImageCount = checked(source.Count * settings.ImagesPerPrompt);
        Layout = ShardLayout.For(ImageCount, settings.SamplesPerShard);
    }

    public PromptSource Source { get; }
    public ResolvedSettings Settings { get; }
    public ConditionIdentity Conditions { get; }
    public ImageModelInfo Images { get; }
    public ShardLayout Layout { get; }
    public long UniquePrompts { get; }
    public long UniqueNegativePrompts { get; }

    /// <summary>Null where no prompt names one.</summary>
    public JobPictures? Pictures { get; }
    public long PromptCount => Source.Count;
    public long ImageCount { get; }
    public long ShardCount => (ImageCount + Layout.SamplesPerShard - 1) / Layout.SamplesPerShard;

    /// <summary>Whether this prompt comes more than once in the job, so that its condition is worth keeping on disk.</summary>
    public bool IsRepeated(ConditionRequest request) => _repeatedCaptions.Length > 0 && Array.BinarySearch(_repeatedCaptions, HashOf(request)) >= 0;

    /// <summary>The same job by a worker's own numerics, of the same model.</summary>
    public JobPlan For(ConditionIdentity conditions, ImageModelInfo images) =>
        new(Source, Settings, conditions, images, _repeatedCaptions, UniquePrompts, UniqueNegativePrompts, Pictures);

    /// <param name="spec">The job.</param>
    /// <param name="conditions">What makes its conditions.</param>
    /// <param name="images">What makes its pictures.</param>
    /// <param name="cancellationToken">Stops between two prompts.</param>
    /// <param name="input">How pictures of prompts are got at; null where there can be none.</param>
    /// <exception cref="JobSpecException">A value is out of range.</exception>
    /// <exception cref="ModelMismatchException">The model cannot make what is asked.</exception>
    /// <exception cref="PromptFileException">The prompt file is not usable.</exception>
    /// <exception cref="StorageException">A picture could not be kept.</exception>
    public static JobPlan Create(
        JobSpec spec, ConditionIdentity conditions, ImageModelInfo images, CancellationToken cancellationToken, PictureInput? input = null)
    {
        ResolvedSettings settings = JobSpecValidator.Resolve(spec, images);
        PromptSource source = PromptSource.Open(spec);
        var captions = new List<ulong>();
        var negatives = new HashSet<ulong>();
        string? lastNegative = null;
        using var survey = new PictureSurvey(input ?? new PictureInput());
        source.Validate(
            line =>
            {
                LinePictures pictures = survey.Take(line);
                if (pictures.Fault is not null)
                {
                    captions.Add(HashOf(line.Prompt) ^ (ulong)line.Line); // counted, and repeated by none: it is not encoded
                    return;
                }

                LineSettings own = settings.Of(line);
                if (line.Images.Count > 0)
                {
                    PromptRequests requests = PromptRequests.Of(pictures.On(line), own);
                    captions.Add(HashOf(requests.Condition));
                    foreach (ConditionRequest other in new[] { requests.Negative, requests.Images }.OfType<ConditionRequest>())
                    {
                        negatives.Add(HashOf(other));
                    }

                    return;
                }

                captions.Add(HashOf(line.Prompt));
                if (own.IsGuided && own.NegativePrompt != lastNegative)
                {
                    negatives.Add(HashOf(own.NegativePrompt));
                    lastNegative = own.NegativePrompt;
                }
            },
            cancellationToken);
        if (source.Count > long.MaxValue / settings.ImagesPerPrompt)
        {
            throw new JobSpecException($"{source.Count} prompts with {settings.ImagesPerPrompt} images each are too many") { Field = "images_per_prompt" };
        }

        long shards = ShardLayout.For(source.Count * settings.ImagesPerPrompt, settings.SamplesPerShard).ShardCount(source.Count * settings.ImagesPerPrompt);
        if (shards > MaxShards)
        {
            throw new JobSpecException($"the job would have {shards} shards of {settings.SamplesPerShard} samples; it may have {MaxShards}: take larger ones") { Field = "samples_per_shard" };
        }

        (ulong[] repeated, long unique) = FindRepeated([.. captions]);
        return new JobPlan(source, settings, conditions, images, repeated, unique, negatives.Count, survey.End());
    }

    private static ulong HashOf(ConditionRequest request) =>
        HashOf(request.ImageHashes.Count == 0 ? request.Caption : string.Join('\0', [request.Caption, .. request.ImageHashes]));

    /// <summary>A text as 64 bits, in the manner of xxHash64 with one lane. Two texts that meet (10^-8 for a million) cost nothing but a condition kept on disk for nothing.</summary>
    private static ulong HashOf(string text)
    {
        const ulong first = 0x9E37_79B1_85EB_CA87;
        const ulong second = 0xC2B2_AE3D_27D4_EB4F;
        const ulong third = 0x1656_67B1_9E37_79F9;
        ReadOnlySpan<byte> bytes = MemoryMarshal.AsBytes(text.AsSpan());
        ulong hash = third + (ulong)bytes.Length;
        for (; bytes.Length >= sizeof(ulong); bytes = bytes[sizeof(ulong)..])
        {
            hash = BitOperations.RotateLeft(hash + (BinaryPrimitives.ReadUInt64LittleEndian(bytes) * second), 31) * first;
        }

        foreach (byte rest in bytes)
        {
            hash = BitOperations.RotateLeft(hash ^ (rest * third), 11) * first;
        }

        hash = (hash ^ (hash >> 33)) * second;
        hash = (hash ^ (hash >> 29)) * third;
        return hash ^ (hash >> 32);
    }

    private static (ulong[] Repeated, long Unique) FindRepeated(ulong[] captions)
    {
        Array.Sort(captions);
        long unique = 0;
        int repeated = 0;
        for (int i = 0; i < captions.Length;)
        {
            ulong caption = captions[i];
            int start = i;
            while (i < captions.Length && captions[i] == caption)
            {
                i++;
            }

            unique++;
            if (i - start > 1)
            {
                captions[repeated++] = caption; // written behind the read position: the array is cut to these below
            }
        }

        Array.Resize(ref captions, repeated);
        return (captions, unique);
    }

    /// <summary>A rough size of all shards: what typical pictures of this format take, and the tar's own blocks.</summary>
    public long EstimateBytes()
    {
        double pixels = (double)Settings.Size.HeightPixels * Settings.Size.WidthPixels;
        double imageBytes = Settings.Format switch
        {
            Imaging.ImageFormat.Png => pixels * 1.8,
            Imaging.ImageFormat.Jpeg => 600 + (pixels * 0.004 * Settings.Quality),
            _ => 300 + (pixels * 0.003 * Settings.Quality),
        };
        const int otherBytes = (3 * 512) + 512 + 1024; // headers, caption, json
        return (long)(ImageCount * (imageBytes + otherBytes));
    }
}
