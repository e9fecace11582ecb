using System.Text.Json.Nodes;
using MetaQuery.Pipelines;
using static TorchSharp.torch;

namespace MetaQuery.Benchmarks;

/// <summary>The shipped model's parts as the farm runs them, one by one.</summary>
internal sealed class OurModules(string folder, ScalarType dtype) : IDisposable
{
    private readonly Lazy<TextModel> _text = new(() => TextModel.Load(MetaQueryModelFolder.Open(folder), dtype));
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

    public static Action Gemm(int size, ScalarType dtype)
    {
        var (a, b) = (randn([size, size]).to(dtype), randn([size, size]).to(dtype));
        return () => matmul(a, b);
    }

    public void Dispose()
    {
        _encoder?.Dispose();
        if (_text.IsValueCreated)
        {
            _text.Value.Dispose();
        }
    }
}
