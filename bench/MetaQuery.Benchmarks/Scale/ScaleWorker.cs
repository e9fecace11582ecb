using System.Diagnostics;
using System.Text.Json;
using System.Text.Json.Nodes;
using MetaQuery.Kernels;
using MetaQuery.Models;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Diffusion;
using MetaQuery.Models.Mllm;
using MetaQuery.Pipelines;
using static TorchSharp.torch;

namespace MetaQuery.Benchmarks.Scale;

/// <summary>The process that <see cref="ScaleSuite"/> measures in: one half of the model is in memory at a time.</summary>
internal sealed class ScaleWorker(string folder, ScalarType dtype, int threads, int promptTokens) : IDisposable
{
    public const string Verb = "scale";
    private const int GemmSize = 2048;

    private readonly MetaQueryModelFolder _folder = MetaQueryModelFolder.Open(folder);
    private TextModel? _text;
    private ImageModel? _image;
    private string? _load;

    public void Serve()
    {
        Say(new JsonObject { ["threads"] = threads });
        while (Console.ReadLine() is { } line)
        {
            try
            {
                var command = JsonNode.Parse(line)!.AsObject();
                Say(Answer(command["do"]!.GetValue<string>(), command["repeats"]?.GetValue<int>() ?? 1));
            }
            catch (Exception exception) // one module's failure ends neither the worker nor the other figures
            {
                Say(new JsonObject { ["error"] = $"{exception.GetType().Name}: {exception.Message}" });
            }
        }
    }

    public void Dispose()
    {
        _text?.Dispose();
        _image?.Dispose();
    }

    private static void Say(JsonObject answer) => Console.WriteLine(answer.ToJsonString(JsonSerializerOptions.Default));

    private JsonObject Answer(string what, int repeats)
    {
        if (what == "memory")
        {
            return new JsonObject { ["text"] = ScaleSuite.Memory() };
        }

        using var inference = inference_mode();
        using var scope = NewDisposeScope();
        _load = null;
        var owned = new List<IDisposable>();
        try
        {
            var (run, gflop, shape) = what switch
            {
                "prefill" => Prefill(),
                "connector" => Connector(),
                "context" => Context(owned),
                "step" => Step(owned),
                "decode" => Decode(owned),
                var other => throw new NotSupportedException($"unknown command {other}"),
            };
            var (least, peak) = (double.MaxValue, 0.0);
            for (var i = 0; i < repeats; i++) // by turns, so that a machine that slows down slows both
            {
                peak = Math.Max(peak, GemmPeak());
                using var inner = NewDisposeScope();
                var clock = Stopwatch.StartNew();
                run();
                least = Math.Min(least, clock.Elapsed.TotalSeconds);
                peak = Math.Max(peak, GemmPeak());
            }

            var answer = new JsonObject { ["least"] = least, ["gflop"] = gflop, ["peak"] = peak, ["shape"] = shape };
            if (_load is not null)
            {
                answer["load"] = _load;
            }

            return answer;
        }
        finally
        {
            owned.ForEach(part => part.Dispose());
        }
    }

    // A plain product of libtorch's own on the same threads.
    private static double GemmPeak()
    {
        using var scope = NewDisposeScope();
        var (a, b) = (randn([GemmSize, GemmSize]), randn([GemmSize, GemmSize]));
        var least = double.MaxValue;
        for (var i = 0; i < 3; i++)
        {
            var clock = Stopwatch.StartNew();
            matmul(a, b).Dispose();
            least = Math.Min(least, clock.Elapsed.TotalSeconds);
        }

        return 2e-9 * GemmSize * GemmSize * GemmSize / least;
    }

    private TextModel Text()
    {
        _image?.Dispose();
        _image = null;
        return _text ??= Load(() => TextModel.Load(_folder, dtype));
    }

    private ImageModel Image()
    {
        _text?.Dispose();
        _text = null;
        return _image ??= Load(() => ImageModel.Load(_folder, new ImageModelOptions { Dtype = dtype }));
    }

    private T Load<T>(Func<T> load)
    {
        TorchRuntime.ReturnFreedMemory();
        var before = ScaleSuite.Memory();
        var clock = Stopwatch.StartNew();
        var model = load();
        var seconds = clock.Elapsed.TotalSeconds;
        TorchRuntime.ReturnFreedMemory();
        _load = $"{seconds:0.0} s, from {before} to {ScaleSuite.Memory()}";
        return model;
    }

    private (Action Run, double Gflop, string Shape) Prefill()
    {
        var model = Text().Model;
        var config = model.Decoder.Config;
        var ids = Enumerable.Range(0, promptTokens).Select(i => (long)(i * 7 % Math.Min(256, config.VocabularySize))).ToArray();
        var tokens = promptTokens + model.NumMetaqueries + 1; // with <begin_of_img>
        return (
            () => model.QueryStates([new PromptTokens(ids)]).Dispose(),
            ModuleWork.LanguageModel(
                config.HiddenSize, config.IntermediateSize, config.NumHiddenLayers, config.NumAttentionHeads, config.NumKeyValueHeads, config.HeadSize, tokens),
            $"{tokens} tokens");
    }

    private (Action Run, double Gflop, string Shape) Connector()
    {
        var model = Text().Model;
        var config = TextModel.ReadConnectorConfig(_folder.Config, model.Decoder.Config, _folder.OpenCheckpoint());
        var states = randn([1, model.NumMetaqueries, config.HiddenSize]);
        return (
            () => model.Connector.Forward(states).Dispose(),
            ModuleWork.Connector(
                config.HiddenSize, config.IntermediateSize, config.NumHiddenLayers, config.NumAttentionHeads, config.OutputSize, model.NumMetaqueries),
            $"{model.NumMetaqueries} queries");
    }

    private (Action Run, double Gflop, string Shape) Context(List<IDisposable> owned)
    {
        var (model, queries) = (Image(), _folder.Config.NumMetaqueries);
        var velocity = model.CreateVelocityModel(threads);
        owned.Add(velocity);
        var condition = Random(queries * (long)model.ConditionChannels);
        var work = Sana() is { } sana ? ModuleWork.SanaContext(sana.Width, sana.CaptionChannels, sana.CrossWidth, sana.NumLayers, queries) : 0;
        return (() => velocity.Prepare(condition, queries).Dispose(), work, $"{queries} tokens");
    }

    private (Action Run, double Gflop, string Shape) Step(List<IDisposable> owned)
    {
        var (model, queries) = (Image(), _folder.Config.NumMetaqueries);
        var side = model.LatentSize;
        var velocity = model.CreateVelocityModel(threads);
        owned.Add(velocity);
        var contexts = Enumerable.Range(0, 2).Select(_ => velocity.Prepare(Random(queries * (long)model.ConditionChannels), queries)).ToList();
        owned.AddRange(contexts);
        var latents = Random((long)model.LatentChannels * side * side);
        var result = new float[2 * latents.Length];
        var work = Sana() is { } sana
            ? 2 * ModuleWork.SanaStep(
                sana.Width, sana.AttentionHeadDim, sana.CrossWidth, sana.MlpRatio, sana.NumLayers, sana.InChannels, sana.OutChannels, sana.PatchSize,
                (long)side * side / sana.PatchSize / sana.PatchSize, queries)
            : 2 * Counted($"sd1.5 unet, {queries} condition tokens, one forward", model);
        return (() => velocity.Predict(latents, 1, side, side, 500, contexts, result), work, $"{model.DefaultSizePixels} pixels");
    }

    private (Action Run, double Gflop, string Shape) Decode(List<IDisposable> owned)
    {
        var model = Image();
        var side = model.LatentSize;
        var latents = randn([1, model.LatentChannels, side, side]) * 0.5;
        var decoder = model.CreateDecoder(threads);
        owned.Add(decoder);
        var work = Counted(Sana() is null ? "sd1.5 autoencoder-kl decoder" : "dc-ae-f32c32 decoder", model);
        return (() => decoder.Decode(latents).Dispose(), work, $"{model.DefaultSizePixels} pixels");
    }

    // GFLOP of a module of the published sizes at 512 pixels, for which there is no short formula; 0 where the model is another.
    private static double Counted(string name, ImageModel model)
    {
        using var counts = JsonDocument.Parse(File.ReadAllText(Repository.PathOf("tests", "fixtures", "diffusion", "perf-shapes.json")));
        return model.DefaultSizePixels == 512 && counts.RootElement.GetProperty("models").TryGetProperty(name, out var module)
            ? module.GetProperty("flops").GetDouble() / 1e9
            : 0;
    }

    private SanaTransformerConfig? Sana() => Path.GetFileName(_folder.NetworkFolder) == "transformer"
        ? SanaTransformerConfig.Read(HuggingFaceFolder.Open(_folder.NetworkFolder).ReadConfig())
        : null;

    private static float[] Random(long count)
    {
        using var values = randn([count]);
        return values.data<float>().ToArray();
    }
}
