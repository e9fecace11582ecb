using MetaQuery.Imaging;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Prompting;
using MetaQuery.Pipelines.Vision;
using MetaQuery.Tokenizers;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>What shapes a condition besides the weights.</summary>
/// <param name="TemplateSource">The chat template's text.</param>
/// <param name="ConditionBytes">Of one condition, in bfloat16.</param>
/// <param name="Pictures">What its prompts' pictures go through; null where it reads none.</param>
public sealed record TextModelTraits(string TemplateSource, int ConditionBytes, IImageProcessor? Pictures);

/// <summary>A model folder's first half, loaded: MLLM, queries, connector, tokenizer and chat template.</summary>
public sealed class TextModel : IDisposable
{
    private readonly CausalDecoder _decoder;

    private TextModel(CausalDecoder decoder, MllmInContext model, Tokenizer tokenizer, ChatTemplate template, MetaQueryModelFolder folder)
    {
        var config = folder.Config;
        (_decoder, Model, Tokenizer, Template) = (decoder, model, tokenizer, template);
        Prompt = new MetaQueryPrompt(tokenizer, template, config.SystemPrompt, config.MaxInputTextTokens, hasNewTokens: config.NumMetaqueries > 0);
        Chat = new ChatModel(decoder, tokenizer, template, HasVision(folder) ? () => model.Vision.WithProcessor(ProcessorForPrompts(folder, forConditions: false)) : null, ownsDecoder: false);
    }

    public MllmInContext Model { get; }

    public Tokenizer Tokenizer { get; }

    public ChatTemplate Template { get; }

    public MetaQueryPrompt Prompt { get; }

    /// <summary>The same weights, answering in text.</summary>
    public ChatModel Chat { get; }

    /// <param name="dtype">What the matrix products run in: float32 or bfloat16.</param>
    /// <param name="packed">For inference on the CPU: packed weights and fused kernels; null: wherever <paramref name="device"/> is the CPU.</param>
    /// <exception cref="CheckpointException">A part is malformed, or its sizes do not fit the others'.</exception>
    /// <exception cref="TokenizerException">The vocabulary cannot be used.</exception>
    /// <exception cref="ChatTemplateException">The checkpoint has no chat template, or one that cannot be used.</exception>
    public static TextModel Load(MetaQueryModelFolder folder, ScalarType dtype = ScalarType.Float32, Device? device = null, bool? packed = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        var (config, tokenizer, template) = ReadText(folder);
        using var checkpoint = folder.OpenCheckpoint();
        Check(folder, config);
        var isPacked = packed ?? device is null or { type: DeviceType.CPU };
        var owned = new Stack<IDisposable>();
        try
        {
            var decoder = LoadDecoder(folder, checkpoint, config, dtype, device, isPacked);
            owned.Push(decoder);
            var prompts = CheckpointWeights.WithPromptTable(folder, checkpoint, decoder);
            if (prompts != decoder)
                owned.Push(prompts);
            var rows = ReadNewRows(folder.Config, config, checkpoint, device);
            if (rows is not null)
                owned.Push(rows);
            var connectorConfig = ReadConnectorConfig(folder.Config, config, checkpoint);
            var weights = checkpoint.WithPrefix("model.");
            ShapeProbe.Demand(weights, source => new MetaQueryConnector(connectorConfig, source).Dispose());
            var connector = new MetaQueryConnector(connectorConfig, weights, dtype, device, isPacked);
            owned.Push(connector);
            var model = new MllmInContext(prompts, rows, connector, VisionOf(folder, dtype, device, isPacked), folder.Config.MaxConditionTokens);
            return new TextModel(decoder, model, tokenizer, template, folder);
        }
        catch
        {
            while (owned.TryPop(out var part))
                part.Dispose();
            throw;
        }
    }

    /// <summary>What shapes a condition besides the weights; no weights are read.</summary>
    /// <exception cref="CheckpointException">A part is malformed, or its sizes do not fit the others'.</exception>
    /// <exception cref="ChatTemplateException">The checkpoint has no chat template, or one that cannot be used.</exception>
    public static TextModelTraits Describe(MetaQueryModelFolder folder)
    {
        ArgumentNullException.ThrowIfNull(folder);
        var (config, template) = ReadTemplate(folder);
        using var checkpoint = folder.OpenCheckpoint();
        Check(folder, config);
        return new TextModelTraits(
            template.Source, folder.Config.ConditionTokens * ReadConnectorConfig(folder.Config, config, checkpoint).OutputSize * sizeof(ushort),
            HasVision(folder) ? ProcessorForPrompts(folder, forConditions: true) : null);
    }

    /// <summary>Loads the frozen LLM alone, to chat with.</summary>
    /// <inheritdoc cref="Load" path="/exception"/>
    public static (CausalDecoder Decoder, Tokenizer Tokenizer, ChatTemplate Template) LoadForChat(
        MetaQueryModelFolder folder, ScalarType dtype = ScalarType.Float32, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        var (config, tokenizer, template) = ReadText(folder);
        using var checkpoint = folder.OpenCheckpoint();
        return (LoadDecoder(folder, checkpoint, config, dtype, device, device is null or { type: DeviceType.CPU }), tokenizer, template);
    }

    /// <summary>Loads what reads pictures in a chat, as the MLLM alone does it (the checkpoint's own limits).</summary>
    /// <returns>Null where the model has no vision tower that is built here.</returns>
    /// <inheritdoc cref="Load" path="/exception"/>
    public static VisionModel? LoadVisionForChat(MetaQueryModelFolder folder, ScalarType dtype = ScalarType.Float32, Device? device = null)
    {
        ArgumentNullException.ThrowIfNull(folder);
        return VisionOf(folder, dtype, device, device is null or { type: DeviceType.CPU }, forConditions: false)?.Invoke();
    }

    public void Dispose()
    {
        Chat.Dispose();
        Model.Dispose();
        if (Model.Decoder != _decoder)
            _decoder.Dispose();
    }

    private static Tensor? ReadNewRows(MetaQueryConfig config, DecoderConfig decoder, WeightSource checkpoint, Device? device) => config switch
    {
        { NumMetaqueries: 0 } => null,
        { HasRandomQueries: true } => MllmInContext.DrawNewRows(decoder, config.NumMetaqueries, config.QuerySeed, device),
        _ => MllmInContext.LoadNewRows(checkpoint, decoder, config.NumMetaqueries, device),
    };

    /// <summary>Whether the MLLM has a vision tower that is built here; no weights are read.</summary>
    internal static bool HasVision(MetaQueryModelFolder folder) => !folder.IsGguf && MllmKinds.Of(HuggingFaceFolder.Open(folder.MllmPath).ReadConfig()) != MllmKind.Text;

    private static IImageProcessor ProcessorForPrompts(MetaQueryModelFolder folder, bool forConditions)
    {
        var mllm = HuggingFaceFolder.Open(folder.MllmPath);
        return ImageProcessors.Read(MllmKinds.Of(mllm.ReadConfig()), mllm.Path, forConditions);
    }

    private static (DecoderConfig Config, Tokenizer Tokenizer, ChatTemplate Template) ReadText(MetaQueryModelFolder folder)
    {
        var (config, template) = ReadTemplate(folder);
        if (!folder.IsGguf)
            return (config, ByteLevelBpeTokenizer.FromTokenizerJson(TokenizerFile(folder.MllmPath)), template);
        using var file = GgufFile.Open(folder.MllmPath);
        return (config, GgufText.ReadTokenizer(file), template);
    }

    private static (DecoderConfig Config, ChatTemplate Template) ReadTemplate(MetaQueryModelFolder folder)
    {
        if (!folder.IsGguf)
            return (DecoderConfig.FromTransformers(HuggingFaceFolder.Open(folder.MllmPath).ReadConfig()), ChatTemplate.FromFolder(folder.MllmPath));
        using var file = GgufFile.Open(folder.MllmPath);
        return (DecoderConfig.FromGguf(file), GgufText.ReadChatTemplate(file));
    }

    private static string TokenizerFile(string folder)
    {
        var plain = Path.Combine(folder, "tokenizer.json");
        return File.Exists(plain) || !File.Exists(plain + ".gz") ? plain : plain + ".gz";
    }

    private static CausalDecoder LoadDecoder(MetaQueryModelFolder folder, WeightSource checkpoint, DecoderConfig config, ScalarType dtype, Device? device, bool packed)
    {
        if (folder.IsGguf)
        {
            using var file = GgufFile.Open(folder.MllmPath, Environment.ProcessorCount).AsHuggingFace();
            ShapeProbe.Demand(file, source => CausalDecoder.Load(config, source).Dispose());
            return CausalDecoder.Load(config, file, dtype, device, packed);
        }

        if (!CheckpointWeights.HoldsMllm(folder, checkpoint))
        {
            using var file = HuggingFaceFolder.Open(folder.MllmPath).OpenWeights();
            var weights = MllmKinds.Named(file);
            var decoder = weights.WithPrefix(MllmKinds.DecoderPrefix(weights));
            ShapeProbe.Demand(decoder, source => CausalDecoder.Load(config, source).Dispose());
            return CausalDecoder.Load(config, decoder, dtype, device, packed);
        }

        // A full checkpoint of the reference: the MLLM's layers lie in it, under a table whose old rows weight decay has shrunk.
        return LoadFromCheckpoint(config, checkpoint, dtype, device, packed);
    }

    /// <summary>The decoder inside a full checkpoint of the reference, of whose grown table the old rows are taken.</summary>
    /// <exception cref="CheckpointException">A tensor is missing or has another shape than the configuration says.</exception>
    public static CausalDecoder LoadFromCheckpoint(DecoderConfig config, WeightSource checkpoint, ScalarType dtype = ScalarType.Float32, Device? device = null, bool packed = false)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(checkpoint);
        var mllm = MllmKinds.Named(checkpoint.WithPrefix(MllmInContext.Backbone));
        var backbone = mllm.WithPrefix(MllmKinds.DecoderPrefix(mllm));
        var rows = checked((int)backbone.Describe("model.embed_tokens.weight").Shape[0]);
        ShapeProbe.Demand(backbone, source => CausalDecoder.Load(config, source, withHead: false, tableRows: rows).Dispose());
        return CausalDecoder.Load(config, backbone, dtype, device, packed, withHead: config.TieWordEmbeddings, tableRows: rows);
    }

    // The tower is loaded when the first picture comes: most jobs have none.
    private static Func<VisionModel?>? VisionOf(MetaQueryModelFolder folder, ScalarType dtype, Device? device, bool packed, bool forConditions = true) => folder.IsGguf ? null : () =>
    {
        var mllm = HuggingFaceFolder.Open(folder.MllmPath);
        using var checkpoint = folder.OpenCheckpoint();
        if (CheckpointWeights.HoldsMllm(folder, checkpoint))
            return VisionModel.Load(mllm, checkpoint.WithPrefix(MllmInContext.Backbone), forConditions, dtype, device, packed);
        using var weights = mllm.OpenWeights();
        return VisionModel.Load(mllm, weights, forConditions, dtype, device, packed);
    };

    private static void Check(MetaQueryModelFolder folder, DecoderConfig decoder)
    {
        if (folder.Config.MllmHiddenSize is { } stated && stated != decoder.HiddenSize)
            throw new CheckpointException($"{folder.Folder}: config.json states mllm_hidden_size {stated}, the MLLM {folder.Config.Mllm} has {decoder.HiddenSize}");
        if (folder.Config is { ConnectorKind: ConnectorKind.EncoderProjection, ConnectorHiddenSize: { } connector } && connector != decoder.HiddenSize)
            throw new CheckpointException($"{folder.Folder}: config.json states connector_hidden_size {connector}, the MLLM's hidden size is {decoder.HiddenSize}: an enc-proj connector has the MLLM's");
    }

    /// <summary>The connector's sizes: as stated, else the reference's.</summary>
    /// <exception cref="CheckpointException">The condition's size is not stated, and the checkpoint has no connector.</exception>
    public static ConnectorConfig ReadConnectorConfig(MetaQueryConfig config, DecoderConfig decoder, WeightSource checkpoint)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentNullException.ThrowIfNull(decoder);
        ArgumentNullException.ThrowIfNull(checkpoint);
        var channels = config.ConditionChannels ?? checked((int)checkpoint.Describe("model.connector.4.weight").Shape[0]);
        var reference = ConnectorConfig.OfReference(decoder.HiddenSize, config.ConnectorNumHiddenLayers, channels, config.ConnectorKind);
        var heads = config.ConnectorNumAttentionHeads ?? reference.NumAttentionHeads;
        return reference with
        {
            IntermediateSize = config.ConnectorIntermediateSize ?? reference.IntermediateSize,
            NumAttentionHeads = heads,
            NumKeyValueHeads = heads,
        };
    }
}
