using System.Security.Cryptography;
using MetaQuery.Models.Checkpoints;
using MetaQuery.TestKit;

namespace MetaQuery.Models.Tests.Checkpoints;

[LeakCheck]
public sealed class CatalogTests : IDisposable
{
    readonly string folder = Directory.CreateTempSubdirectory("metaquery-models-").FullName;

    public void Dispose() => Directory.Delete(folder, recursive: true);

    [Fact]
    public void The_shipped_model_is_listed_with_parts_licences_sizes_and_hashes()
    {
        var model = Assert.Single(ModelCatalog.Find(Path.GetDirectoryName(RepositoryFolders.NanoModel)!), model => model.Folder == RepositoryFolders.NanoModel);
        Assert.Null(model.Problem);
        Assert.Equal(["metaquery", "mllm", "transformer", "vae"], model.Parts.Select(part => part.Name));
        Assert.Equal(["metaquery", "llama", "SanaTransformer2DModel", "AutoencoderDC"], model.Parts.Select(part => part.ClassName));
        Assert.Equal("apache-2.0", model.Parts[1].Licence); // the GGUF's own word
        Assert.All(model.Parts.Where(part => part.Format is "safetensors"), part => Assert.Equal("Apache-2.0, CC-BY-4.0", part.Licence)); // the texts in licenses/
        var gguf = Assert.Single(model.Parts[1].Files);
        Assert.Equal("GGUF", model.Parts[1].Format);
        Assert.Equal("b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53", gguf.Sha256); // as the publisher's package has it
        Assert.Equal(new FileInfo(Path.Combine(model.Folder, gguf.Path)).Length, gguf.Bytes);
        Assert.Equal(Directory.EnumerateFiles(model.Folder, "*", SearchOption.AllDirectories).Where(file => Path.GetExtension(file) is ".gguf" or ".safetensors").Sum(file => new FileInfo(file).Length), model.Bytes);
    }

    [Fact]
    public void Only_folders_that_say_so_are_models_and_a_broken_one_is_listed_with_its_problem()
    {
        Write("plain/config.json", """{"model_type":"llama"}""");
        Write("notes/readme.txt", "none");
        Write("broken/config.json", "{");
        Write("lost/config.json", """{"model_type":"metaquery","mllm":"mllm/absent.gguf"}""");
        var models = ModelCatalog.Find(folder);
        Assert.Equal(["broken", "lost"], models.Select(model => model.Name));
        Assert.Contains("is not valid JSON", models[0].Problem, StringComparison.Ordinal);
        Assert.Contains("where there are no weights", models[1].Problem, StringComparison.Ordinal);
        Assert.Empty(ModelCatalog.Find(Path.Combine(folder, "absent")));
    }

    [Fact]
    public void A_part_takes_the_licence_nearest_to_it()
    {
        byte[] weights = SafetensorsBuilder.OneTensor(1);
        Write("m/config.json", """{"model_type":"metaquery"}""");
        Write("m/README.md", "---\ntags: [x]\nlicense: cc-by-4.0\n---\n# Card");
        foreach (string part in new[] { "mllm", "transformer", "vae" })
            Write($"m/{part}/model-00001-of-00002.safetensors", weights);
        Write("m/mllm/model-00002-of-00002.safetensors", weights);
        Write("m/transformer/LICENSE.txt", "MIT License\n\nCopyright");
        Write("m/vae/LICENSE", "Terms of our own");
        var model = Assert.Single(ModelCatalog.Find(folder));
        Assert.Equal([("mllm", "cc-by-4.0"), ("transformer", "MIT"), ("vae", "LICENSE")], model.Parts.Select(part => (part.Name, part.Licence)));
        Assert.Equal(2, model.Parts[0].Files.Count);
        Assert.Equal(Convert.ToHexStringLower(SHA256.HashData(weights)), model.Parts[0].Files[1].Sha256);
        Assert.Equal("mllm/model-00002-of-00002.safetensors", model.Parts[0].Files[1].Path);
        Assert.Null(ModelCatalog.Find(folder, withSha256: false)[0].Parts[0].Files[0].Sha256);
    }

    void Write(string name, string text) => Write(name, System.Text.Encoding.UTF8.GetBytes(text));

    void Write(string name, byte[] bytes)
    {
        string path = Path.Combine(folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
    }
}
