using MetaQuery.Pipelines;
using MetaQuery.Silo;
using TorchSharp;

namespace MetaQuery.Cli;

/// <summary>Loads a model's language model alone, and asks it.</summary>
internal static class LoadedChat
{
    public static IEnumerable<string> Ask(
        string folder, string? dtype, int threads, string device, ChatOptions options, string question, IReadOnlyList<PromptImage> images, CancellationToken stop)
    {
        torch.set_num_threads(threads);
        MetaQueryModelFolder opened = MetaQueryModelFolder.Open(folder);
        using ChatModel model = LocalModel.LoadChat(opened, dtype, device);
        if (images.Count > 0 && !model.ReadsImages)
        {
            throw new PipelineException($"{folder}: its language model reads no pictures; --image needs one with Qwen2.5-VL or LLaVA-OneVision");
        }

        using ChatSession session = model.NewSession(options, withImages: images.Count > 0);
        foreach (string piece in session.Ask(question, images, stop))
        {
            yield return piece;
        }
    }
}
