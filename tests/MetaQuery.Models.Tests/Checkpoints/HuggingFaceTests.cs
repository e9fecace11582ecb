using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;

namespace MetaQuery.Models.Tests.Checkpoints;

[LeakCheck]
public sealed class HuggingFaceTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("metaquery-folder-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void Sanas_scheduler_configuration_is_read_with_its_bare_infinity()
    {
        string fixture = Path.Combine(RepositoryFolders.VisibleFixtures, "diffusion", "schedulers", "dpm-flow-sana");
        var config = HuggingFaceFolder.Open(fixture).ReadSchedulerConfig();
        Assert.Equal(double.NegativeInfinity, config.Double("lambda_min_clipped"));
        Assert.Equal("DPMSolverMultistepScheduler", config.String("_class_name"));
        Assert.Equal(1000, config.Int32("num_train_timesteps"));
        Assert.Contains("-Infinity", File.ReadAllText(Path.Combine(fixture, "scheduler_config.json")), StringComparison.Ordinal);
    }

    [Fact]
    public void Pythons_bare_words_are_numbers_and_the_same_words_in_strings_are_text()
    {
        var config = ConfigFile.Parse("config.json", """{"a":NaN,"b":[Infinity,-Infinity,-1.5],"c":"NaN, \"-Infinity\"","d":null,"e":{"f":Infinity},"NaN":3}""");
        Assert.Equal(double.NaN, config.Double("a"));
        Assert.Equal([double.PositiveInfinity, double.NegativeInfinity, -1.5], config.Doubles("b"));
        Assert.Equal("NaN, \"-Infinity\"", config.String("c"));
        Assert.False(config.Has("d"));
        Assert.Equal(7, config.Double("d", 7));
        Assert.Equal(double.PositiveInfinity, config.Section("e").Double("f"));
        Assert.Equal(3, config.Int64("NaN"));
    }

    [Theory]
    [InlineData("", "is not valid JSON")]
    [InlineData("[]", "must be a JSON object")]
    [InlineData("{\"a\":1,\"a\":2}", "is not valid JSON")]
    [InlineData("{\"a\":NaNs}", "is not valid JSON")]
    [InlineData("{\"a\":1}x", "is not valid JSON")]
    public void A_malformed_configuration_is_named(string text, string reason)
    {
        var error = Assert.Throws<CheckpointException>(() => ConfigFile.Parse("config.json", text));
        Assert.StartsWith("config.json: ", error.Message, StringComparison.Ordinal);
        Assert.Contains(reason, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Theory]
    [InlineData("absent", "config.json: \"text.absent\" is missing")]
    [InlineData("size", "config.json: \"text.size\" is \"big\", an integer was expected")]
    [InlineData("half", "config.json: \"text.half\" is 0.5, an integer was expected")]
    [InlineData("large", "config.json: \"text.large\" is 4294967296, which is beyond 32 bits")]
    public void A_field_of_another_type_is_named_with_its_section(string name, string message)
    {
        var config = ConfigFile.Parse("config.json", """{"text":{"size":"big","half":0.5,"large":4294967296}}""").Section("text");
        Assert.Equal(message, Assert.Throws<CheckpointException>(() => config.Int32(name)).Message);
    }

    [Fact]
    public void A_pipelines_parts_are_those_with_a_class()
    {
        Write("model_index.json", """{"_class_name":"SanaPipeline","scheduler":["diffusers","DPMSolverMultistepScheduler"],"safety_checker":[null,null],"transformer":["diffusers","SanaTransformer2DModel"],"requires_safety_checker":false}""");
        Assert.Equal([new("scheduler", "diffusers", "DPMSolverMultistepScheduler"), new("transformer", "diffusers", "SanaTransformer2DModel")], HuggingFaceFolder.Open(folder).ReadModelIndex());
        Write("model_index.json", """{"../vae":["diffusers","AutoencoderDC"]}""");
        Assert.Contains("is not the plain name of a folder", Assert.Throws<CheckpointException>(() => HuggingFaceFolder.Open(folder).ReadModelIndex()).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("model.safetensors", null)]
    [InlineData("diffusion_pytorch_model.safetensors", null)]
    [InlineData("diffusion_pytorch_model.fp16.safetensors", "fp16")]
    [InlineData("diffusion_pytorch_model.fp16.safetensors", null)]
    [InlineData("model.bf16.safetensors", null)]
    public void Weights_are_found_under_the_names_of_transformers_and_diffusers(string name, string? variant)
    {
        Assert.False(HuggingFaceFolder.Open(folder).HasWeights(variant));
        Write(name, SafetensorsBuilder.OneTensor(1, 2));
        using var weights = HuggingFaceFolder.Open(folder).OpenWeights(variant);
        Assert.Equal(["w"], weights.Keys);
    }

    [Fact]
    public void Of_one_dtype_alone_the_weights_are_read_of_several_none_and_other_weights_never()
    {
        Write("diffusion_pytorch_model.non_ema.safetensors", SafetensorsBuilder.OneTensor(1, 2));
        Assert.False(HuggingFaceFolder.Open(folder).HasWeights());
        Write("diffusion_pytorch_model.fp16.safetensors", SafetensorsBuilder.OneTensor(1, 2));
        HuggingFaceFolder.Open(folder).OpenWeights().Dispose();
        Write("diffusion_pytorch_model.bf16.safetensors", SafetensorsBuilder.OneTensor(1, 2));
        var error = Assert.Throws<CheckpointException>(() => HuggingFaceFolder.Open(folder).OpenWeights().Dispose());
        Assert.EndsWith("holds diffusion_pytorch_model.fp16.safetensors and diffusion_pytorch_model.bf16.safetensors: keep the one that is meant", error.Message, StringComparison.Ordinal);
        Write("diffusion_pytorch_model.safetensors", SafetensorsBuilder.OneTensor(1, 2));
        using var plain = HuggingFaceFolder.Open(folder).OpenWeights();
        Assert.EndsWith("diffusion_pytorch_model.safetensors", plain.Path, StringComparison.Ordinal);
    }

    [Fact]
    public void Pickled_weights_are_refused_by_name()
    {
        Write("pytorch_model.bin", "PK");
        var error = Assert.Throws<CheckpointException>(() => HuggingFaceFolder.Open(folder).OpenWeights().Dispose());
        Assert.Contains("pytorch_model.bin: a Python pickle is not read", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_without_weights_says_what_was_looked_for()
    {
        var error = Assert.Throws<CheckpointException>(() => HuggingFaceFolder.Open(folder).OpenWeights().Dispose());
        Assert.Contains("model.safetensors or diffusion_pytorch_model.safetensors", error.Message, StringComparison.Ordinal);
        Assert.Contains("there is no such folder", Assert.Throws<CheckpointException>(() => HuggingFaceFolder.Open(Path.Combine(folder, "x"))).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_tensor_that_a_shard_holds_beside_the_index_is_refused()
    {
        Write("model-1.safetensors", SafetensorsBuilder.Build("""{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}""", [1, 2]));
        Write("model-2.safetensors", SafetensorsBuilder.Build("""{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""", [3]));
        Write("model.safetensors.index.json", """{"weight_map":{"a":"model-1.safetensors","b":"model-2.safetensors"}}""");
        Assert.Contains("model-1.safetensors: tensor \"b\": the index says that it is in \"model-2.safetensors\"", Refusal(), StringComparison.Ordinal);
        Write("model.safetensors.index.json", """{"weight_map":{"a":"model-1.safetensors"}}""");
        Assert.Contains("model-1.safetensors: tensor \"b\": the index does not list it", Refusal(), StringComparison.Ordinal);
        Write("model.safetensors.index.json", """{"weight_map":{"a":"model-1.safetensors","a":"model-2.safetensors"}}""");
        Assert.Contains("tensor \"a\": the name stands twice in weight_map", Refusal(), StringComparison.Ordinal);

        string Refusal() => Assert.Throws<CheckpointException>(() => ShardedSafetensors.Open(folder).Dispose()).Message;
    }

    [Fact]
    public void A_report_lists_what_is_missing_misshapen_and_left_over()
    {
        using var source = SafetensorsFile.Parse("w.safetensors", SafetensorsBuilder.Build(
            """{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]},"rope":{"dtype":"U8","shape":[1],"data_offsets":[3,4]}}""", new byte[4]));
        var report = WeightReport.Compare(source, Expected(("a", [3]), ("c", [1])), static key => key.Equals("rope", StringComparison.Ordinal));
        Assert.Equal(["c"], report.Missing);
        Assert.Equal(["b"], report.Unexpected);
        Assert.Equal("a", Assert.Single(report.Misshapen).Key);
        var error = Assert.Throws<CheckpointException>(report.ThrowUnlessExact);
        Assert.Equal("w.safetensors: the tensors do not fit the model: 1 missing: \"c\"; 1 of another shape: \"a\" ([2], the model needs [3]); 1 unexpected: \"b\"", error.Message);
        WeightReport.Compare(source, Expected(("a", [2]), ("b", [1]), ("rope", [1]))).ThrowUnlessExact();

        static Dictionary<string, long[]> Expected(params (string Key, long[] Shape)[] weights) => weights.ToDictionary(weight => weight.Key, weight => weight.Shape);
    }

    void Write(string name, string text) => File.WriteAllText(Path.Combine(folder, name), text);

    void Write(string name, byte[] bytes) => File.WriteAllBytes(Path.Combine(folder, name), bytes);
}
