using System.Text.Json.Nodes;
using MetaQuery.Pipelines;
using static TorchSharp.torch;

namespace MetaQuery.Benchmarks;

/// <summary>The shipped model's parts as the farm runs them, one by one.</summary>
internal sealed class OurModules(string folder, ScalarType dtype) : IDisposable
{
    private readonly Lazy<TextModel> _text = new(() => TextModel.Load(MetaQueryModelFolder.Open(folder), dtype));
    private readonly Lazy<ImageModel> _images = new(() => ImageModel.Load(MetaQueryModelFolder.Open(folder), new ImageModelOptions { Dtype = dtype }));
    private readonly List<IDisposable> _owned = [];
    private ConditionEncoder? _encoder;

    private ConditionEncoder Encoder => _encoder ??= new ConditionEncoder(_text.Value.Model, _text.Value.Prompt);

    /// <summary>Prompts as the peer takes them: up to and with &lt;begin_of_img&gt;.</summary>
    public JsonObject Tokens(IReadOnlyList<string> prompts)
    {
        var prompt = _text.Value.Prompt;
        var begin = _text.Value.Model.NewTokenIds().First();
        return new JsonObject
        {
            ["ids"] = new JsonArray([.. prompts.Select(text => Ids(prompt.Encode(text)))]),
            ["empty"] = Ids(prompt.Encode("")),
            ["sharedPrefix"] = prompt.SharedPrefix.Count,
        };

        JsonArray Ids(long[] ids) => new([.. ids.Append(begin).Select(id => JsonValue.Create(id))]);
    }

    public Action Condition(IReadOnlyList<string> prompts) => () => Encoder.Encode(prompts);

    /// <summary>One step with guidance: two rows per image, keys and values computed beforehand.</summary>
    public Action Step(int batch)
    {
        var model = _images.Value;
        var (channels, side) = (model.LatentChannels, model.LatentSize);
        var tokens = _text.Value.Model.NumMetaqueries;
        var velocity = model.CreateVelocityModel(threads: 1);
        var contexts = Enumerable.Range(0, 2 * batch)
            .Select(_ => velocity.Prepare(randn([tokens * (long)model.ConditionChannels]).data<float>().ToArray(), tokens)).ToList();
        var latents = randn([(long)batch * channels * side * side]).data<float>().ToArray();
        var result = new float[2 * latents.Length];
        _owned.AddRange([velocity, .. contexts]);
        return () => velocity.Predict(latents, batch, side, side, 500, contexts, result);
    }

    /// <summary>Latents to bytes of pictures.</summary>
    public Action Decode(int batch)
    {
        var model = _images.Value;
        var side = model.LatentSize;
        var latents = randn([batch, model.LatentChannels, side, side]) * 0.5;
        var decoder = model.CreateDecoder(threads: 1);
        _owned.Add(decoder);
        return () =>
        {
            using var decoded = decoder.Decode(latents);
            ImageDenoiser.ToImages(decoded);
        };
    }

    public static Action Gemm(int size, ScalarType dtype)
    {
        var (a, b) = (randn([size, size]).to(dtype), randn([size, size]).to(dtype));
        return () => matmul(a, b);
    }

    /// <summary>Gives back what the last command prepared.</summary>
    public void Forget()
    {
        _owned.ForEach(part => part.Dispose());
        _owned.Clear();
    }

    public void Dispose()
    {
        Forget();
        if (_images.IsValueCreated)
        {
            _images.Value.Dispose();
        }

        _encoder?.Dispose();
        if (_text.IsValueCreated)
        {
            _text.Value.Dispose();
        }
    }
}
