using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using MetaQuery.Imaging;

namespace MetaQuery.Farm.Tests.Doubles;

/// <summary>A stand-in for the tensor side, which this room must not see: both halves are pure functions of their inputs.</summary>
internal sealed class ToyModel : IFarmModel
{
    public const int ConditionBytes = 48;

    public NumericsFingerprint Numerics { get; init; } = new("float32", "toy", 1, "none 0", "toy");

    public string Revision { get; init; } = "toy-1";

    /// <summary>Runs before each denoiser call; may throw or wait.</summary>
    public Action<DenoiseBatch, CancellationToken>? BeforeDenoise { get; init; }

    /// <summary>Runs before each step of a denoiser call; may wait.</summary>
    public Action<CancellationToken>? BeforeStep { get; init; }

    /// <summary>Takes part in what the denoiser returns, to make it wrong.</summary>
    public Func<List<RgbImage>, IReadOnlyList<RgbImage>> Returned { get; init; } = images => images;

    /// <summary>Runs before each encoder call; may throw or wait.</summary>
    public Action<IReadOnlyList<ConditionRequest>>? BeforeEncode { get; init; }

    /// <summary>Whether prompts may have pictures; sides under 4 pixels are refused.</summary>
    public bool ReadsPictures { get; init; }

    /// <summary>Runs in each encoder call, after it; may wait for the token.</summary>
    public Action<CancellationToken>? HoldEncode { get; init; }

    /// <summary>Captions encoded, with how often.</summary>
    public ConcurrentDictionary<string, int> Encoded { get; } = new(StringComparer.Ordinal);

    /// <summary>Image seeds denoised, with how often.</summary>
    public ConcurrentDictionary<ulong, int> Denoised { get; } = new();

    public int TotalPasses => Encoded.Values.Sum();

    public ModelDescription Description => new(
        new ConditionIdentity(Revision, "toy-tokenizer", "{{ toy }}", "toy system prompt", 16, "bfloat16", Numerics.ToString(), ConditionBytes),
        new ImageModelInfo(Revision, "toy", new ImageSize(8, 8), 8, 8, 64, 4, 4.5f, 4, Numerics))
    {
        PictureRefusal = ReadsPictures ? (width, height) => width >= 4 && height >= 4 ? null : $"a picture of {width} x {height} is too small for toys" : null,
    };

    public IConditionEncoder CreateEncoder(IPictureSource? pictures = null) => new Encoder(this, pictures);

    public IImageDenoiser CreateDenoiser() => new Denoiser(this);

    private static byte[] Expand(ReadOnlySpan<byte> seed, int length)
    {
        var bytes = new byte[length];
        var block = new byte[32 + 4];
        SHA256.HashData(seed, block);
        for (int i = 0; i < length; i += 32)
        {
            BitConverter.TryWriteBytes(block.AsSpan(32), i);
            SHA256.HashData(block).AsSpan(0, Math.Min(32, length - i)).CopyTo(bytes.AsSpan(i));
        }

        return bytes;
    }

    private sealed class Encoder(ToyModel model, IPictureSource? pictures) : IConditionEncoder
    {
        public ConditionIdentity Identity { get; } = model.Description.Conditions;

        public IReadOnlyList<byte[]> Encode(IReadOnlyList<ConditionRequest> requests, Action? progress, CancellationToken cancellationToken)
        {
            model.BeforeEncode?.Invoke(requests);
            model.HoldEncode?.Invoke(cancellationToken);
            cancellationToken.ThrowIfCancellationRequested();
            foreach (ConditionRequest request in requests)
            {
                model.Encoded.AddOrUpdate(request.Caption, 1, (_, count) => count + 1);
            }

            return [.. requests.Select(request => Expand(Encoding.UTF8.GetBytes(request.Caption + string.Concat(request.ImageHashes.Select(Read))), ConditionBytes))];
        }

        private string Read(string hash) =>
            "\n" + (BlackPicture.TryParse(hash, out _, out _) ? hash : Convert.ToHexString(SHA256.HashData(pictures!.Read(hash).Span)));
    }

    private sealed class Denoiser(ToyModel model) : IImageDenoiser
    {
        public ImageModelInfo Info { get; } = model.Description.Images;

        public IReadOnlyList<RgbImage> Denoise(DenoiseBatch batch, Action? progress, CancellationToken cancellationToken)
        {
            Assert.InRange(batch.Rows.Count, 1, batch.BatchSize);
            Assert.Single(batch.Rows.Select(row => (row.GuidanceScale > 1 || row.ImageGuidanceScale > 1, row.ImageGuidanceScale > 1)).Distinct());
            Assert.All(batch.Rows, row => Assert.Equal(batch.ThreeBranches, row.ImageGuidanceScale > 1));
            for (int step = 0; step < batch.NumInferenceSteps; step++)
            {
                model.BeforeStep?.Invoke(cancellationToken);
                progress?.Invoke();
            }

            model.BeforeDenoise?.Invoke(batch, cancellationToken);
            cancellationToken.ThrowIfCancellationRequested();
            var images = new List<RgbImage>();
            foreach (DenoiseRow row in batch.Rows)
            {
                model.Denoised.AddOrUpdate(row.Seed, 1, (_, count) => count + 1);
                byte[] inputs =
                [
                    .. row.Condition.Span, .. row.NegativeCondition.Span, .. BitConverter.GetBytes(row.GuidanceScale), .. BitConverter.GetBytes(row.Seed),
                    .. BitConverter.GetBytes(batch.NumInferenceSteps), .. BitConverter.GetBytes(batch.BatchSize),
                    .. row.ImageCondition.Span, .. batch.ThreeBranches ? BitConverter.GetBytes(row.ImageGuidanceScale) : [],
                ];
                images.Add(new RgbImage(
                    batch.WidthPixels, batch.HeightPixels, Expand(inputs, batch.WidthPixels * batch.HeightPixels * 3)));
            }

            return model.Returned(images);
        }
    }
}
