using MetaQuery.Pipelines;
using MetaQuery.TestKit;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>The default model from end to end: ids, hidden states and conditions here, latents and pictures in the other half of this class.</summary>
public sealed partial class NanoKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["nano"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        var folder = MetaQueryModelFolder.Open(RepositoryFolders.NanoModel);
        CompareConditions(folder, parityCase, report);
        var compared = false;
        CompareImages(folder, parityCase, report, ref compared);
        if (!compared)
            report.Skip("latents, decoded and pictures", "the sampling half is not built yet");
    }

    static partial void CompareImages(MetaQueryModelFolder folder, ParityCase parityCase, ParityReport report, ref bool compared);
}
