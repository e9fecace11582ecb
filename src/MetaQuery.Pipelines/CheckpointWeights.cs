using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Mllm;
using MetaQuery.Models.Vision;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines;

/// <summary>Which of a model's MLLM weights are read: a checkpoint of the reference holds them all, and the folder mllm/ may hold the base model's as well.</summary>
internal static class CheckpointWeights
{
    private const string Table = "model.embed_tokens.weight";

    /// <summary>Whether the MLLM's layers are the checkpoint's. The base model's serve where there are any and config.json says that the MLLM was frozen: they
    /// are the same then, and have an output head beside.</summary>
    /// <exception cref="CheckpointException">Neither holds any.</exception>
    public static bool HoldsMllm(MetaQueryModelFolder folder, WeightSource checkpoint)
    {
        var hasOwn = !folder.IsGguf && HuggingFaceFolder.Open(folder.MllmPath).HasWeights();
        var backbone = MllmKinds.Named(checkpoint.WithPrefix(MllmInContext.Backbone));
        var holdsLayers = backbone.WithPrefix(MllmKinds.DecoderPrefix(backbone)).Contains(Table);
        return holdsLayers && !(hasOwn && folder.Config.IsMllmFrozen);
    }

    /// <summary>A decoder whose prompts are read through the checkpoint's token table. The reference's training shrinks the old rows too (weight decay), and its
    /// conditions are made with these; answers in text need the base model's.</summary>
    /// <param name="decoder">Its layers are shared.</param>
    /// <returns><paramref name="decoder"/> itself where the tables are equal, or the checkpoint holds none.</returns>
    /// <exception cref="CheckpointException">The table has another shape.</exception>
    public static CausalDecoder WithPromptTable(MetaQueryModelFolder folder, WeightSource checkpoint, CausalDecoder decoder)
    {
        var backbone = MllmKinds.Named(checkpoint.WithPrefix(MllmInContext.Backbone));
        var language = backbone.WithPrefix(MllmKinds.DecoderPrefix(backbone));
        if (!language.Contains(Table) || HoldsMllm(folder, checkpoint))
            return decoder;
        using var scope = NewDisposeScope();
        var count = folder.Config.NumMetaqueries;
        var grown = decoder.Config.VocabularySize + (count > 0 ? count + MllmInContext.Brackets : 0);
        var table = language.Load(Table, [grown, decoder.Config.HiddenSize], decoder.TokenTable.dtype).narrow(0, 0, decoder.Config.VocabularySize);
        table = decoder.Device.type == DeviceType.CPU ? table : table.to(decoder.Device);
        return table.eq(decoder.TokenTable).all().item<bool>() ? decoder : decoder.WithTokenTable(table.DetachFromDisposeScope());
    }
}
