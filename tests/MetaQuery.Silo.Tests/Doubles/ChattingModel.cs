using MetaQuery.Pipelines;
using MetaQuery.TestKit;

namespace MetaQuery.Silo.Tests.Doubles;

/// <summary>The default model's language model, loaded once for all tests.</summary>
public sealed class ChattingModel : IDisposable
{
    public ChatModel Nano { get; } = ChatModel.Load(MetaQueryModelFolder.Open(RepositoryFolders.NanoModel));

    public void Dispose() => Nano.Dispose();
}

[CollectionDefinition(nameof(ChattingModel))]
public sealed class ChattingModelCollection : ICollectionFixture<ChattingModel>;
