using MetaQuery.TestKit;

namespace MetaQuery.Pipelines.Tests;

/// <summary>What a folder has, and what it lacks.</summary>
[LeakCheck]
public sealed class InspectionTests
{
    [Fact]
    public void The_default_model_lacks_nothing()
    {
        var found = ModelInspection.Of(RepositoryFolders.NanoModel);
        Assert.Equal([], found.Lacks);
        Assert.Equal(["language model", "queries", "connector", "transformer", "autoencoder"], found.Parts.Select(part => part.Name));
        Assert.All(found.Parts, part => Assert.Equal((0, 0), (part.Missing.Count + part.Misshapen.Count, part.Unexpected.Count)));
        Assert.InRange(found.Parts[0].Parameters, 134_000_000, 136_000_000); // SmolLM2-135M
    }

    [Theory]
    [InlineData("tiny")]
    [InlineData("tiny-sd")]
    public void A_model_of_random_weights_lacks_nothing_and_has_nothing_too_much(string family)
    {
        var parent = Directory.CreateTempSubdirectory("metaquery-inspect-").FullName;
        var folder = Path.Combine(parent, family);
        RandomModels.RandomModelFolder.Write(folder, family);
        var found = ModelInspection.Of(folder);
        Assert.Equal([], found.Lacks);
        Assert.All(found.Parts, part => Assert.Empty(part.Unexpected));
        Directory.Delete(parent, recursive: true);
    }

    [Fact]
    public void A_state_dictionary_is_shown_by_its_parts()
    {
        using var whole = new WholeModelFolder().Parts(withWeights: false).StateDictionary();
        var found = ModelInspection.Of(whole.Path);
        Assert.Equal([], found.Lacks);
        Assert.Equal(["language model", "connector", "unet", "autoencoder"], found.Parts.Select(part => part.Name));
        Assert.All(found.Parts, part => Assert.Equal("model.safetensors", part.Place));
        using var checkpoint = MetaQueryModelFolder.Open(whole.Path).OpenCheckpoint();
        Assert.Equal(checkpoint.Keys.Order(StringComparer.Ordinal), found.Parts.SelectMany(part => part.Tensors).Select(tensor => tensor.Key).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void Everything_missing_unexpected_and_misshapen_is_listed()
    {
        using var whole = new WholeModelFolder().Parts(withWeights: false).StateDictionary(keep: static key => !key.Contains("visual.blocks.1.", StringComparison.Ordinal) && !key.StartsWith("vae.decoder.mid_block.", StringComparison.Ordinal));
        whole.Configure(config => (config["connector_num_hidden_layers"], config["num_metaqueries"]) = (1, 9));
        var found = ModelInspection.Of(whole.Path);
        var parts = found.Parts.ToDictionary(part => part.Name, StringComparer.Ordinal);
        Assert.All(parts["language model"].Missing, key => Assert.StartsWith("model.mllm_backbone.visual.blocks.1.", key, StringComparison.Ordinal));
        Assert.NotEmpty(parts["language model"].Missing);
        Assert.Equal("model.mllm_backbone.model.embed_tokens.weight", Assert.Single(parts["language model"].Misshapen).Key); // of 8 queries, not 9
        Assert.All(parts["autoencoder"].Missing, key => Assert.StartsWith("vae.decoder.mid_block.", key, StringComparison.Ordinal));
        Assert.NotEmpty(parts["connector"].Unexpected);
        Assert.All(parts["connector"].Unexpected, key => Assert.StartsWith("model.connector.0.layers.1.", key, StringComparison.Ordinal));
        Assert.Equal(2, found.Lacks.Count);
        Assert.All(found.Lacks, line => Assert.DoesNotContain('\n', line));
    }

    [Fact]
    public void A_folder_that_is_no_MetaQuery_is_told_all_that_it_lacks()
    {
        using var downloads = new WholeModelFolder().Downloads();
        var found = ModelInspection.Of(Path.Combine(downloads.Path, "Sana-tiny"));
        Assert.Contains(found.Lacks, line => line.Contains("config.json", StringComparison.Ordinal));
        Assert.Contains(found.Lacks, line => line.Contains("metaquery.safetensors", StringComparison.Ordinal));
        Assert.Contains(found.Lacks, line => line.StartsWith("mllm is missing", StringComparison.Ordinal));
        found = ModelInspection.Of(downloads.Path);
        Assert.Contains(found.Lacks, line => line.Contains("Qwen2.5-VL-tiny holds no weights", StringComparison.Ordinal));
        Assert.Contains(found.Lacks, line => line.Contains("Sana-tiny/unet", StringComparison.Ordinal) && line.Contains("holds no weights", StringComparison.Ordinal));
        foreach (var part in new[] { "unet", "vae", "scheduler" })
            Directory.Delete(Path.Combine(downloads.Path, "Sana-tiny", part), recursive: true);
        Assert.Contains("vae/config.json is missing", ModelInspection.Of(downloads.Path).Lacks);
        Assert.Contains("scheduler/scheduler_config.json is missing", ModelInspection.Of(downloads.Path).Lacks);
    }

    [Fact]
    public void Parts_that_do_not_fit_one_another_are_told()
    {
        using var whole = new WholeModelFolder().Parts(withWeights: false).StateDictionary();
        whole.Configure(config => config["vae_downsample_f"] = 8);
        Assert.Contains("vae_downsample_f", Assert.Single(ModelInspection.Of(whole.Path).Lacks), StringComparison.Ordinal);
    }
}
