using MetaQuery.Pipelines;
using TorchSharp;

namespace MetaQuery.Cli;

/// <summary>Loads a model's language model alone, and asks it.</summary>
internal static class LoadedChat
{
    public static IEnumerable<string> Ask(string folder, string? dtype, int threads, ChatOptions options, string question, CancellationToken stop)
    {
        torch.set_num_threads(threads);
        var (decoder, tokenizer, template) = TextModel.LoadForChat(
            MetaQueryModelFolder.Open(folder), dtype == "bfloat16" ? torch.ScalarType.BFloat16 : torch.ScalarType.Float32);
        using (decoder)
        {
            using var session = new ChatSession(decoder, tokenizer, template, options);
            foreach (var piece in session.Ask(question, stop))
            {
                yield return piece;
            }
        }
    }
}
