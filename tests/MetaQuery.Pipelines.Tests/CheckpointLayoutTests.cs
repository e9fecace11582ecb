using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

/// <summary>The layouts in which a team may have a MetaQuery: they give the same conditions and the same pictures.</summary>
[LeakCheck]
public sealed class CheckpointLayoutTests
{
    [Fact]
    public void One_state_dictionary_gives_the_bytes_of_parts_in_their_folders()
    {
        using var parts = new WholeModelFolder().Parts();
        var expected = parts.Make();
        using var whole = new WholeModelFolder().Parts(withWeights: false).StateDictionary();
        Assert.Equal(expected, whole.Make());
        using var shards = new WholeModelFolder().Parts(withWeights: false).StateDictionary(shards: 3);
        Assert.Equal(expected, shards.Make());
    }

    [Fact]
    public void Downloads_that_config_json_names_are_found_where_no_folder_has_a_parts_name()
    {
        using var parts = new WholeModelFolder().Parts();
        using var downloads = new WholeModelFolder().Downloads().StateDictionary();
        Assert.Equal(parts.Make(), downloads.Make());
        var folder = MetaQueryModelFolder.Open(downloads.Path);
        Assert.EndsWith("Sana-tiny/unet", folder.NetworkFolder, StringComparison.Ordinal);
        Assert.EndsWith("Qwen2.5-VL-tiny", folder.MllmPath, StringComparison.Ordinal);
        Assert.Empty(ModelInspection.Of(downloads.Path).Lacks);
    }

    [Fact]
    public void An_id_that_leads_out_of_the_folder_is_not_followed()
    {
        using var downloads = new WholeModelFolder().Downloads().StateDictionary();
        foreach (var id in new[] { "../Sana-tiny", "/tmp/Sana-tiny", Path.Combine(downloads.Path, "Sana-tiny") })
        {
            downloads.Configure(config => (config["vae_id"], config["scheduler_id"], config["diffusion_model_id"]) = (id, id, id));
            Assert.Throws<CheckpointException>(() => MetaQueryModelFolder.Open(downloads.Path));
        }
    }

    [Fact]
    public void The_checkpoints_trained_network_goes_before_the_untrained_one_in_its_folder()
    {
        using var trained = new WholeModelFolder().Parts();
        var expected = trained.Make();
        File.Delete(Path.Combine(trained.Path, "model.safetensors"));
        trained.StateDictionary();
        // what was downloaded: another network of the same shapes
        var file = Path.Combine(trained.Path, "unet", "diffusion_pytorch_model.safetensors");
        var bytes = File.ReadAllBytes(file);
        Array.Clear(bytes, bytes.Length / 2, bytes.Length / 2);
        File.WriteAllBytes(file, bytes);
        Assert.Equal(expected, trained.Make());
    }

    [Fact]
    public void The_checkpoint_counts_in_both_revisions_where_it_holds_both_halves()
    {
        using var whole = new WholeModelFolder().Parts(withWeights: false).StateDictionary();
        var before = MetaQueryModelFolder.Open(whole.Path);
        var (condition, image) = (before.ConditionRevision, before.ImageRevision);
        using (var file = File.OpenWrite(Path.Combine(whole.Path, "model.safetensors")))
        {
            file.Seek(-1, SeekOrigin.End);
            file.WriteByte(0x5a);
        }

        var after = MetaQueryModelFolder.Open(whole.Path);
        Assert.NotEqual(condition, after.ConditionRevision);
        Assert.NotEqual(image, after.ImageRevision);
    }

    [Fact]
    public void Bfloat16_stays_bfloat16_and_makes_pictures()
    {
        using var whole = new WholeModelFolder().Parts(withWeights: false).StateDictionary(shards: 2, dtype: ScalarType.BFloat16);
        Assert.All(ModelInspection.Of(whole.Path).Parts, part => Assert.Equal(["BF16"], part.Dtypes));
        using var source = MetaQueryModelFolder.Open(whole.Path).OpenNetworkWeights();
        using var tensor = source.Source.Load(source.Source.Keys.First());
        Assert.Equal(ScalarType.BFloat16, tensor.dtype);
        var (_, pixels) = whole.Make(ScalarType.BFloat16);
        Assert.True(Convert.FromHexString(pixels).Distinct().Count() > 10);
    }

    [Fact]
    public void Every_missing_and_misshapen_tensor_is_named_before_anything_is_made()
    {
        using var whole = new WholeModelFolder().Parts(withWeights: false).StateDictionary(keep: static key => !key.EndsWith("to_k.weight", StringComparison.Ordinal));
        var error = Assert.Throws<CheckpointException>(() => ImageModel.Load(MetaQueryModelFolder.Open(whole.Path)));
        Assert.Contains(" missing: ", error.Message, StringComparison.Ordinal);
        Assert.True(error.Message.Split("to_k.weight").Length > 3, error.Message);
        Assert.DoesNotContain('\n', error.Message);
        using var text = new WholeModelFolder().Parts(withWeights: false).StateDictionary(keep: static key => !key.Contains("connector.0.layers.1.", StringComparison.Ordinal));
        Assert.Contains("14 missing", Assert.Throws<CheckpointException>(() => TextModel.Load(MetaQueryModelFolder.Open(text.Path))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Prompts_are_read_through_the_checkpoints_own_table_and_answers_through_the_base_models()
    {
        // weight decay has shrunk the checkpoint's old rows; the base model lies in mllm/, as it was published
        using var decayed = new WholeModelFolder().Parts(withWeights: false).StateDictionary();
        using (var checkpoint = MetaQueryModelFolder.Open(decayed.Path).OpenCheckpoint())
        {
            var table = checkpoint.Keys.Single(key => key.EndsWith("embed_tokens.weight", StringComparison.Ordinal));
            var vocabulary = (int)checkpoint.Describe(table).Shape[0] - 10;
            using var scope = NewDisposeScope();
            using var grown = new ChangedWeights(checkpoint.WithPrefix("model.mllm_backbone."), key => key == table["model.mllm_backbone.".Length..], rows => rows.narrow(0, 0, vocabulary).mul(1.25));
            CheckpointWriter.Write(Path.Combine(decayed.Path, "mllm", "model.safetensors"), CheckpointWriter.All(grown, ""));
        }

        var folder = MetaQueryModelFolder.Open(decayed.Path);
        Assert.True(folder.Config.IsMllmFrozen);
        using var alone = new WholeModelFolder().Parts(withWeights: false).StateDictionary();
        using var text = TextModel.Load(folder);
        using var encoder = new ConditionEncoder(text.Model, text.Prompt);
        Assert.Equal(alone.Make().Condition, Convert.ToHexString(encoder.Encode(["a red apple"])[0]));
        string Answer(ChatModel chat)
        {
            using var session = chat.NewSession(new ChatOptions(MaxNewTokens: 6));
            return string.Concat(session.Ask("What is shown?"));
        }

        using var baseModel = ChatModel.Load(folder);
        Assert.Equal(Answer(baseModel), Answer(text.Chat));
    }

    [Fact]
    public void A_tuned_MLLM_is_the_checkpoints_even_where_the_base_models_weights_lie_beside_it()
    {
        using var tuned = new WholeModelFolder().Parts(withWeights: false).StateDictionary();
        var expected = tuned.Make().Condition;
        File.WriteAllText(Path.Combine(tuned.Path, "mllm", "model.safetensors"), "never read");
        tuned.Configure(config => config.Remove("modules_to_freeze"));
        Assert.Equal(expected, tuned.Make().Condition);
    }
}
