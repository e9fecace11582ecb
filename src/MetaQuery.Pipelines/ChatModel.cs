using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using MetaQuery.Pipelines.Vision;
using MetaQuery.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>A model folder's frozen MLLM as it answers in text: decoder, tokenizer, chat template, and what reads pictures, at the checkpoint's own limits.</summary>
/// <remarks>Only read while answering: any number of sessions on any threads share it, also while conditions are made.</remarks>
public sealed class ChatModel : IDisposable
{
    // As many pictures' states as a conversation sends again with each of its turns.
    private const long FeatureBytes = 256L << 20;

    private readonly CausalDecoder _decoder;
    private readonly Tokenizer _tokenizer;
    private readonly ChatTemplate _template;
    private readonly LoadedOnce<VisionModel>? _vision;
    private readonly VisionFeatureCache _features = new(FeatureBytes);
    private readonly bool _ownsDecoder;

    /// <param name="vision">Loads what reads pictures when the first one comes; what it gives is owned from here on. Null: there is none.</param>
    /// <param name="ownsDecoder">Whether the decoder goes with this.</param>
    internal ChatModel(CausalDecoder decoder, Tokenizer tokenizer, ChatTemplate template, Func<VisionModel>? vision, bool ownsDecoder)
    {
        (_decoder, _tokenizer, _template, _ownsDecoder) = (decoder, tokenizer, template, ownsDecoder);
        _vision = vision is null ? null : new LoadedOnce<VisionModel>(vision);
    }

    /// <summary>Whether questions may have pictures.</summary>
    public bool ReadsImages => _vision is not null;

    /// <summary>Whether there is an output head: a MetaQuery checkpoint's own MLLM may have none.</summary>
    public bool CanAnswer => _decoder.HasHead;

    /// <summary>Tokens of a conversation with its answer.</summary>
    public int MaxTokens => _decoder.Config.MaxPositionEmbeddings;

    /// <summary>Loads the MLLM alone: no queries, no connector, nothing of the picture's half.</summary>
    /// <param name="dtype">What the matrix products run in: float32 or bfloat16.</param>
    /// <exception cref="CheckpointException">A part is malformed, or its sizes do not fit the others'.</exception>
    /// <exception cref="TokenizerException">The vocabulary cannot be used.</exception>
    /// <exception cref="ChatTemplateException">The checkpoint has no chat template, or one that cannot be used.</exception>
    public static ChatModel Load(MetaQueryModelFolder folder, ScalarType dtype = ScalarType.Float32, Device? device = null)
    {
        var (decoder, tokenizer, template) = TextModel.LoadForChat(folder, dtype, device);
        return new ChatModel(
            decoder, tokenizer, template, TextModel.HasVision(folder) ? () => TextModel.LoadVisionForChat(folder, dtype, device)! : null, ownsDecoder: true);
    }

    /// <param name="withImages">Whether questions will have pictures: what reads them is then loaded.</param>
    /// <exception cref="PipelineException">The checkpoint has no output head.</exception>
    /// <exception cref="CheckpointException">The session has pictures, and what reads them is missing or malformed.</exception>
    public ChatSession NewSession(ChatOptions? options = null, bool withImages = false) =>
        new(_decoder, _tokenizer, _template, options, withImages ? _vision?.Value : null, _features);

    public void Dispose()
    {
        _features.Dispose();
        if (_vision is { IsLoaded: true })
            _vision.Value.Dispose();
        if (_ownsDecoder)
            _decoder.Dispose();
    }
}
