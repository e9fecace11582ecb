using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>A job checked against its model: settings with every default filled in, prompts counted, nothing kept per image.</summary>
/// <remarks>Memory is 16 bytes a prompt, for telling which captions come more than once.</remarks>
internal sealed class JobPlan
{
    private const long MaxShards = 1_000_000;

    private readonly UInt128[] _repeatedCaptions;

    private JobPlan(PromptSource source, ResolvedSettings settings, ConditionIdentity conditions, ImageModelInfo images,
        UInt128[] repeatedCaptions, long uniquePrompts, long uniqueNegativePrompts)
    {
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
    public long PromptCount => Source.Count;
    public long ImageCount { get; }
    public long ShardCount => (ImageCount + Layout.SamplesPerShard - 1) / Layout.SamplesPerShard;

    /// <summary>Whether the job asks for this condition more than once, so that it is worth keeping on disk.</summary>
    public bool IsRepeated(ConditionKey key) => Array.BinarySearch(_repeatedCaptions, key.Prefix) >= 0;

    /// <exception cref="JobSpecException">A value is out of range.</exception>
    /// <exception cref="ModelMismatchException">The model cannot make what is asked.</exception>
    /// <exception cref="PromptFileException">The prompt file is not usable.</exception>
    public static JobPlan Create(JobSpec spec, ConditionIdentity conditions, ImageModelInfo images, CancellationToken cancellationToken)
    {
        ResolvedSettings settings = JobSpecValidator.Resolve(spec, images);
        PromptSource source = PromptSource.Open(spec);
        source.Validate(cancellationToken);
        if (source.Count > long.MaxValue / settings.ImagesPerPrompt)
        {
            throw new JobSpecException($"{source.Count} prompts with {settings.ImagesPerPrompt} images each are too many");
        }

        long shards = ShardLayout.For(source.Count * settings.ImagesPerPrompt, settings.SamplesPerShard).ShardCount(source.Count * settings.ImagesPerPrompt);
        if (shards > MaxShards)
        {
            throw new JobSpecException($"the job would have {shards} shards of {settings.SamplesPerShard} samples; it may have {MaxShards}: take larger ones");
        }

        var keys = new ConditionKey.KeyMaker(conditions);
        var captions = new UInt128[source.Count];
        var negatives = new HashSet<ConditionKey>();
        long count = 0;
        string? lastNegative = null;
        foreach (PromptLine line in source.Read())
        {
            if ((count & 0xFFF) == 0)
            {
                cancellationToken.ThrowIfCancellationRequested();
            }

            captions[count++] = keys.Create(new ConditionRequest(line.Prompt)).Prefix;
            if ((line.GuidanceScale ?? settings.GuidanceScale) > 1)
            {
                string negative = line.NegativePrompt ?? settings.NegativePrompt;
                if (negative != lastNegative)
                {
                    negatives.Add(keys.Create(new ConditionRequest(negative)));
                    lastNegative = negative;
                }
            }
        }

        (UInt128[] repeated, long unique) = FindRepeated(captions);
        return new JobPlan(source, settings, conditions, images, repeated, unique, negatives.Count);
    }

    private static (UInt128[] Repeated, long Unique) FindRepeated(UInt128[] captions)
    {
        Array.Sort(captions);
        long unique = 0;
        int repeated = 0;
        for (int i = 0; i < captions.Length;)
        {
            UInt128 caption = captions[i];
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
