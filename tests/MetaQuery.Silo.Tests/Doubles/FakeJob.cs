using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using MetaQuery.Data;
using MetaQuery.Farm;
using MetaQuery.Imaging;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>One job of <see cref="FakeFarm"/>: makes an image after the other, and remembers its last events.</summary>
internal sealed class FakeJob(string id, JobSubmission submission, IReadOnlyList<PromptLine> prompts, IReadOnlyList<string> skipped, ImageModelInfo model)
{
    private const int KeptEvents = 1000;

    private readonly Lock _lock = new();
    private readonly List<SampleContent> _samples = [];
    private readonly List<FailedSample> _failures = [];
    private readonly List<(long Sequence, JobEvent Event)> _events = [];
    private readonly DateTimeOffset _createdAt = DateTimeOffset.UtcNow;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private JobState _state = JobState.Running;
    private DateTimeOffset? _finishedAt;
    private long _sequence;
    private long _next;

    public string Id { get; } = id;

    private long Images => (long)prompts.Count * submission.Spec.ImagesPerPrompt;
    private ImageSize Size => submission.Spec.Size ?? model.DefaultSize;

    public JobView View()
    {
        lock (_lock)
        {
            long settled = _samples.Count + _failures.Count;
            JobSpec spec = submission.Spec;
            return new JobView(
                Id, submission.Name, submission.Tenant, submission.Kind, spec.Priority, _state, _state == JobState.Cancelled ? "cancelled by its tenant" : null,
                new JobCounts(prompts.Count, Images, Images, Math.Min(Images, settled + 8), settled, _samples.Count, _failures.Count), _state == JobState.Running ? 10 : 0,
                _state == JobState.Running ? TimeSpan.FromSeconds((Images - settled) / 10.0) : null,
                new ResolvedSettings(
                    Size, spec.NumInferenceSteps ?? 4, spec.GuidanceScale ?? 4.5f, spec.NegativePrompt, spec.Seed, spec.ImagesPerPrompt, spec.SamplesPerShard, spec.Format, spec.Quality, spec.BatchSize ?? 4),
                skipped, model.Numerics.ToString(), _createdAt, _createdAt, _finishedAt, null);
        }
    }

    public IReadOnlyList<SampleContent> Samples()
    {
        lock (_lock)
        {
            return [.. _samples.OrderBy(sample => sample.Sample.Position)];
        }
    }

    public IReadOnlyList<FailedSample> Failures()
    {
        lock (_lock)
        {
            return [.. _failures];
        }
    }

    public IReadOnlyList<(JobFile File, byte[] Bytes)> Files()
    {
        lock (_lock)
        {
            if (_state is not (JobState.Completed or JobState.CompletedWithErrors))
            {
                return [];
            }

            byte[] shard = [.. _samples.SelectMany(sample => sample.Image.ToArray())];
            string sha256 = Convert.ToHexStringLower(SHA256.HashData(shard));
            byte[] manifest = Encoding.UTF8.GetBytes($"{{\"shard\":\"00000.tar\",\"sha256\":\"{sha256}\"}}\n");
            byte[] sheet = _samples.Count > 0 ? _samples[0].Image.ToArray() : [];
            return
            [
                (new JobFile("00000.tar", shard.Length, "application/x-tar", sha256), shard),
                (new JobFile("manifest.jsonl", manifest.Length, "application/jsonl", null), manifest),
                (new JobFile("contact-sheet.png", sheet.Length, "image/png", null), sheet),
            ];
        }
    }

    public async Task RunAsync(TimeSpan timePerImage, CancellationToken stop)
    {
        await Task.Yield();
        while (true)
        {
            if (timePerImage > TimeSpan.Zero)
            {
                await Task.Delay(timePerImage, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }

            lock (_lock)
            {
                if (_state != JobState.Running || stop.IsCancellationRequested)
                {
                    return;
                }

                if (_next < Images)
                {
                    MakeNext();
                    continue;
                }

                _state = _failures.Count == 0 ? JobState.Completed : JobState.CompletedWithErrors;
                _finishedAt = DateTimeOffset.UtcNow;
                Happened("state", []);
                return;
            }
        }
    }

    public JobView Apply(JobCommand command, TimeSpan timePerImage, CancellationToken stop)
    {
        JobView before = View();
        lock (_lock)
        {
            JobState? after = JobLifecycle.After(_state, command);
            if (after is null)
            {
                return before;
            }

            bool changes = after != _state;
            _state = after == JobState.Queued ? JobState.Running : after.Value;
            if (changes && command == JobCommand.RetryFailed)
            {
                _failures.Clear(); // what failed once is passed over the second time
                (_next, _finishedAt) = (Images, null);
            }

            if (changes)
            {
                _finishedAt = JobLifecycle.IsFinal(_state) ? DateTimeOffset.UtcNow : null;
                Happened("state", []);
            }

            if (changes && _state == JobState.Running)
            {
                _ = RunAsync(timePerImage, stop);
            }
        }

        return View();
    }

    /// <summary>The sequence number of an event that is still remembered.</summary>
    public long? Knows(string? eventId)
    {
        lock (_lock)
        {
            return _events.Where(known => known.Event.Id == eventId).Select(known => (long?)known.Sequence).FirstOrDefault();
        }
    }

    /// <summary>What has happened since; a snapshot for -1.</summary>
    public (IReadOnlyList<JobEvent> Events, Task Changed, long Last, bool HasEnded) After(long sequence)
    {
        lock (_lock)
        {
            bool hasEnded = JobLifecycle.IsFinal(_state);
            if (sequence < 0)
            {
                return ([new JobEvent(Name(_sequence), "snapshot", View(), [.. _samples.TakeLast(16).Select(sample => sample.Sample.Position)])], _changed.Task, _sequence, hasEnded);
            }

            return ([.. _events.Where(known => known.Sequence > sequence).Select(known => known.Event)], _changed.Task, _sequence, hasEnded);
        }
    }

    private string Name(long sequence) => string.Create(CultureInfo.InvariantCulture, $"{Id}-{sequence}");

    private void Happened(string type, IReadOnlyList<long> samples)
    {
        _events.Add((++_sequence, new JobEvent(Name(_sequence), type, View(), samples)));
        if (_events.Count > KeptEvents)
        {
            _events.RemoveAt(0);
        }

        TaskCompletionSource changed = _changed;
        _changed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        changed.SetResult();
    }

    private void MakeNext()
    {
        long position = _next++;
        PromptLine prompt = prompts[(int)(position / submission.Spec.ImagesPerPrompt)];
        int index = (int)(position % submission.Spec.ImagesPerPrompt);
        string key = string.Create(CultureInfo.InvariantCulture, $"{position:000000000}");
        if (prompt.Prompt.Contains("fail", StringComparison.Ordinal))
        {
            _failures.Add(new FailedSample(key, prompt.Index, index, prompt.Prompt, "the toy denoiser does not like this prompt"));
            Happened("progress", []);
            return;
        }

        ulong seed = ImageSeed.ForPrompt(submission.Spec.Seed, prompt.Index, index);
        byte[] image = ImageEncoder.Encode(Draw(prompt.Prompt, seed), submission.Spec.Format, submission.Spec.Quality);
        var metadata = new SampleMetadata
        {
            Key = key, Prompt = prompt, SampleIndex = index, Seed = seed, NumInferenceSteps = submission.Spec.NumInferenceSteps ?? 4, GuidanceScale = submission.Spec.GuidanceScale ?? 4.5f,
            WidthPixels = Size.WidthPixels, HeightPixels = Size.HeightPixels, ModelName = model.ModelName, ModelRevision = model.ModelRevision, NegativePrompt = submission.Spec.NegativePrompt,
            ImageGuidanceScale = prompt.Pictures.Count > 0 ? submission.Spec.ImageGuidanceScale ?? 1.5f : null,
        };
        string json = Encoding.UTF8.GetString(metadata.ToJson(Convert.ToHexStringLower(SHA256.HashData(image))));
        string mediaType = submission.Spec.Format == ImageFormat.Jpeg ? "image/jpeg" : $"image/{ImageEncoder.Extension(submission.Spec.Format)}";
        _samples.Add(new SampleContent(new SampleView(position, key, prompt.Prompt, index, json), image, mediaType));
        Happened("samples", [position]);
    }

    private RgbImage Draw(string prompt, ulong seed)
    {
        byte[] colours = SHA256.HashData(Encoding.UTF8.GetBytes($"{prompt} {seed}"));
        var image = new RgbImage(Size.WidthPixels, Size.HeightPixels);
        for (int i = 0; i < image.Pixels.Length; i++)
        {
            int pixel = i / 3;
            bool inside = Math.Abs((pixel % Size.WidthPixels * 2) - Size.WidthPixels) < Size.WidthPixels / 2 && Math.Abs((pixel / Size.WidthPixels * 2) - Size.HeightPixels) < Size.HeightPixels / 2;
            image.Pixels[i] = colours[(i % 3) + (inside ? 3 : 0)];
        }

        return image;
    }
}
