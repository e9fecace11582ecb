using MetaQuery.Models.Autoencoder;
using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.Models.Diffusion;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using MetaQuery.Pipelines.Vision;
using MetaQuery.Sampling;
using MetaQuery.Tokenizers;

namespace MetaQuery.Pipelines;

/// <summary>Looks through a model folder; what cannot be read is noted rather than thrown, for that is what it is asked for.</summary>
internal sealed class ModelInspector(string folder)
{
    private readonly List<PartInspection> _parts = [];
    private readonly List<string> _lacks = [];

    public ModelInspection Inspect()
    {
        var config = Try(() => MetaQueryConfig.Read(Path.Combine(folder, "config.json")));
        var places = ModelFolderParts.Find(folder, config ?? new MetaQueryConfig { Mllm = "mllm", NumMetaqueries = 1, ConnectorNumHiddenLayers = 0 });
        using var checkpoint = places.Checkpoint is { } path ? Try(() => Open(path)) : null;
        if (places.Checkpoint is null)
            _lacks.Add($"there is none of {string.Join(", ", ModelFolderParts.CheckpointNames)}, where the queries and the connector would be");
        InspectText(config, places, checkpoint);
        InspectNetwork(places, checkpoint);
        InspectAutoencoder(places, checkpoint);
        if (places.Scheduler is null)
            _lacks.Add("scheduler/scheduler_config.json is missing");
        else
            Try(() => Schedulers.ForMetaQuery(HuggingFaceFolder.Open(places.Scheduler).ReadSchedulerConfig().Find));
        if (checkpoint is not null)
            AddRest(checkpoint);
        if (_lacks.Count == 0)
            CheckFit();
        return new ModelInspection(folder, _parts, _lacks);
    }

    private void InspectText(MetaQueryConfig? config, ModelFolderParts places, WeightSource? checkpoint)
    {
        if (places.Mllm is not { } mllm)
        {
            _lacks.Add($"{config?.Mllm ?? "mllm"} is missing: the language model, a GGUF file or a transformers folder{(config?.MllmId is { } id ? $" ({id})" : "")}");
            return;
        }

        var decoder = File.Exists(mllm) ? InspectGguf(mllm) : InspectTransformers(config, mllm, checkpoint);
        if (config is null || decoder is null || checkpoint is null)
            return;
        if (config is { NumMetaqueries: > 0, HasRandomQueries: false } && !HoldsMllm(checkpoint))
            Add("queries", checkpoint, "", null, source => MllmInContext.LoadNewRows(source, decoder, config.NumMetaqueries).Dispose(), isPart: static key => key.EndsWith("embed_tokens.new_rows", StringComparison.Ordinal));
        if (Try(() => TextModel.ReadConnectorConfig(config, decoder, checkpoint)) is { } connector)
        {
            Add(
                "connector", checkpoint, "model.", connector.Kind == ConnectorKind.EncoderProjection ? "enc-proj" : "proj-enc",
                source => new MetaQueryConnector(connector, source).Dispose(), isPart: static key => key.StartsWith("connector.", StringComparison.Ordinal));
        }
    }

    private DecoderConfig? InspectGguf(string path) => Try(() =>
    {
        using var file = GgufFile.Open(path);
        var config = DecoderConfig.FromGguf(file);
        Try(() => GgufText.ReadChatTemplate(file));
        using var named = GgufFile.Open(path).AsHuggingFace();
        Add("language model", named, "", "GGUF", source => CausalDecoder.Load(config, source).Dispose(), mayBeUnexpected: IsPassedOver);
        return config;
    });

    private DecoderConfig? InspectTransformers(MetaQueryConfig? config, string mllm, WeightSource? checkpoint)
    {
        var source = HuggingFaceFolder.Open(mllm);
        if (Try(source.ReadConfig) is not { } json || Try(() => DecoderConfig.FromTransformers(json)) is not { } decoder)
            return null;
        Try(() => ChatTemplate.FromFolder(mllm));
        if (!File.Exists(Path.Combine(mllm, "tokenizer.json")) && !File.Exists(Path.Combine(mllm, "tokenizer.json.gz")))
            _lacks.Add($"{Relative(mllm)}/tokenizer.json is missing");
        if (MllmKinds.Of(json) is not MllmKind.Text and var kind)
            Try(() => ImageProcessors.Read(kind, mllm, forConditions: true));
        if (checkpoint is not null && HoldsMllm(checkpoint))
        {
            var count = config?.NumMetaqueries ?? 0;
            var rows = decoder.VocabularySize + (count > 0 ? count + MllmInContext.Brackets : 0);
            AddMllm(checkpoint, MllmInContext.Backbone, json, part => CausalDecoder.Load(decoder, part, withHead: false, tableRows: rows).Dispose());
        }
        else if (!source.HasWeights())
        {
            _lacks.Add($"{Relative(mllm)} holds no weights (model.safetensors, or shards with an index), and the checkpoint has none of the language model");
        }

        using var weights = source.HasWeights() ? Try(() => source.OpenWeights()) : null;
        if (weights is not null)
            AddMllm(weights, "", json, part => CausalDecoder.Load(decoder, part).Dispose());
        return decoder;
    }

    private void AddMllm(WeightSource file, string prefix, ConfigFile json, Action<WeightSource> loadDecoder) => Add(
        "language model", file, prefix, Class(json),
        source =>
        {
            var named = MllmKinds.Named(source);
            loadDecoder(named.WithPrefix(MllmKinds.DecoderPrefix(named)));
            MllmKinds.LoadTower(json, named)?.Dispose();
        },
        mayBeUnexpected: IsPassedOver);

    // Tables that are computed, heads that are tied, and layers of SigLIP behind the one that LLaVA reads.
    private static bool IsPassedOver(string key) =>
        key.EndsWith("rotary_emb.inv_freq", StringComparison.Ordinal) || key.EndsWith("position_ids", StringComparison.Ordinal) || key.EndsWith("lm_head.weight", StringComparison.Ordinal)
        || key.Contains("vision_tower.vision_model.", StringComparison.Ordinal);

    private void InspectNetwork(ModelFolderParts places, WeightSource? checkpoint)
    {
        if (places.Networks is not [var place])
        {
            _lacks.Add(places.Networks.Count == 0 ? "transformer/config.json is missing, and unet/config.json too: one of them is needed" : "there are both transformer/ and unet/: one diffusion network is needed");
            return;
        }

        if (Try(HuggingFaceFolder.Open(place).ReadConfig) is not { } json)
            return;
        var isUNet = json.String("_class_name", json.Has("down_block_types") ? "UNet2DConditionModel" : "SanaTransformer2DModel") == "UNet2DConditionModel";
        AddImagePart(isUNet ? "unet" : "transformer", place, PartWeights.NetworkPrefix, checkpoint, json, source =>
        {
            if (isUNet)
                UNet2DConditionModel.Load(source, UNet2DConditionConfig.Read(json)).Dispose();
            else
                SanaTransformer2DModel.Load(source, SanaTransformerConfig.Read(json)).Dispose();
        });
    }

    private void InspectAutoencoder(ModelFolderParts places, WeightSource? checkpoint)
    {
        if (places.Vae is not { } place)
        {
            _lacks.Add("vae/config.json is missing");
            return;
        }

        if (Try(HuggingFaceFolder.Open(place).ReadConfig) is not { } json)
            return;
        var isKl = json.String("_class_name", json.Has("down_block_types") ? "AutoencoderKL" : "AutoencoderDC") == "AutoencoderKL";
        AddImagePart("autoencoder", place, PartWeights.VaePrefix, checkpoint, json, source =>
        {
            // pictures need the decoder alone
            var withEncoder = source.Keys.Any(key => key.StartsWith("encoder.", StringComparison.Ordinal));
            if (isKl)
                AutoencoderKL.Load(source, AutoencoderKLConfig.Read(json), withEncoder: withEncoder).Dispose();
            else
                AutoencoderDC.Load(source, AutoencoderDCConfig.Read(json), withEncoder: withEncoder).Dispose();
        });
    }

    private void AddImagePart(string name, string place, string prefix, WeightSource? checkpoint, ConfigFile json, Action<WeightSource> load)
    {
        if (checkpoint is not null && PartWeights.Holds(checkpoint, prefix))
        {
            Add(name, checkpoint, prefix, Class(json), load);
            return;
        }

        using var weights = Try(() => HuggingFaceFolder.Open(place).OpenWeights());
        if (weights is not null)
            Add(name, weights, "", Class(json), load);
    }

    /// <param name="load">Builds the part.</param>
    /// <param name="isPart">Which tensors below the prefix are this part's; null: all.</param>
    /// <param name="mayBeUnexpected">Tensors that are left aside knowingly.</param>
    private void Add(string name, WeightSource file, string prefix, string? className, Action<WeightSource> load, Func<string, bool>? isPart = null, Func<string, bool>? mayBeUnexpected = null)
    {
        var weights = file.WithPrefix(prefix);
        using var probe = new ShapeProbe(weights);
        Try(() =>
        {
            load(probe);
            return true;
        });
        var report = WeightReport.Compare(weights, probe.Asked, key => isPart?.Invoke(key) == false || mayBeUnexpected?.Invoke(key) == true);
        var tensors = weights.Keys.Where(key => isPart?.Invoke(key) != false).Order(StringComparer.Ordinal).Select(key => weights.Describe(key) with { Key = prefix + key });
        _parts.Add(new PartInspection(
            name, Relative(file.Path), className, [.. tensors], [.. report.Missing.Select(key => prefix + key)], [.. report.Unexpected.Select(key => prefix + key)],
            [.. report.Misshapen.Select(weight => weight with { Key = prefix + weight.Key })]));
        if (report.Missing.Count + report.Misshapen.Count > 0)
            _lacks.Add($"{name}: {(report with { Path = Relative(file.Path), Unexpected = [] })}");
    }

    // What no part has claimed, though its file is read.
    private void AddRest(WeightSource checkpoint)
    {
        var claimed = _parts.SelectMany(part => part.Tensors.Select(tensor => tensor.Key)).ToHashSet(StringComparer.Ordinal);
        var rest = checkpoint.Keys.Where(key => !claimed.Contains(key)).Order(StringComparer.Ordinal).ToList();
        if (rest.Count > 0)
            _parts.Add(new PartInspection("other weights", Relative(checkpoint.Path), null, [.. rest.Select(checkpoint.Describe)], [], rest, []));
    }

    // Sizes of parts that do not fit one another, where each by itself is well.
    private void CheckFit() => Try(() =>
    {
        var model = MetaQueryModelFolder.Open(folder);
        var channels = TextModel.Describe(model).ConditionBytes / sizeof(ushort) / model.Config.ConditionTokens;
        var plain = new ImageModelOptions { AllowFused = false };
        var network = DiffusionNetwork.Describe(model.NetworkFolder, plain);
        return network.ConditionChannels == channels ? ImageModel.Describe(model, plain)
            : throw new CheckpointException($"the connector gives conditions of {channels} channels, the diffusion network takes {network.ConditionChannels}");
    });

    private static bool HoldsMllm(WeightSource checkpoint)
    {
        var backbone = MllmKinds.Named(checkpoint.WithPrefix(MllmInContext.Backbone));
        return backbone.WithPrefix(MllmKinds.DecoderPrefix(backbone)).Contains("model.embed_tokens.weight");
    }

    private static WeightSource Open(string path) => path.EndsWith(".json", StringComparison.Ordinal) ? ShardedSafetensors.Open(path) : SafetensorsFile.Open(path);

    private static string? Class(ConfigFile json) =>
        json.OptionalString("_class_name") ?? (json.Has("architectures") ? json.Strings("architectures").FirstOrDefault() : null) ?? json.OptionalString("model_type");

    private string Relative(string path) => Path.GetRelativePath(folder, path).Replace('\\', '/');

    private T? Try<T>(Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception error) when (error is CheckpointException or ChatTemplateException or TokenizerException or PipelineException or SchedulerException)
        {
            var line = error.Message.Replace(folder + Path.DirectorySeparatorChar, "", StringComparison.Ordinal).Replace(folder + ": ", "", StringComparison.Ordinal);
            if (!_lacks.Contains(line))
                _lacks.Add(line);
            return default;
        }
    }
}
