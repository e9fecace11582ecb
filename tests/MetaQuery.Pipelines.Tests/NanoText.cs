using MetaQuery.Pipelines;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Pipelines.Tests;

/// <summary>The default model's first half, loaded once for all tests.</summary>
public sealed class NanoText : IDisposable
{
    public MetaQueryModelFolder Folder { get; } = MetaQueryModelFolder.Open(RepositoryFolders.NanoModel);

    public TextModel Text { get; }

    public NanoText() => Text = TextModel.Load(Folder);

    public void Dispose() => Text.Dispose();
}

[CollectionDefinition(nameof(NanoText))]
public sealed class NanoTextCollection : ICollectionFixture<NanoText>;
