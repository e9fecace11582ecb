using System.CommandLine;
using MetaQuery.Farm;
using MetaQuery.Imaging;
using MetaQuery.Pipelines;

namespace MetaQuery.Cli.Commands;

/// <summary><c>chat</c>: the frozen LLM of a model answers in text.</summary>
internal static class ChatCommand
{
    public static Command Create()
    {
        var question = new Argument<string>("question") { Description = "What to ask; - reads it from stdin." };
        var image = new Option<string[]>("--image") { Description = "A picture that the question is about; may be given several times.", HelpName = "FILE", Arity = ArgumentArity.OneOrMore };
        var model = Values.Text("--model", "A folder under models/, or a path.", InstalledModels.Default, "NAME|FOLDER");
        var system = new Option<string?>("--system") { Description = "System prompt (default: what the model's own template says).", HelpName = "TEXT" };
        var maximum = Values.Number("--max-tokens", "Longest answer, in tokens (default 512).", 1, 1_000_000);
        var temperature = Values.Number("--temperature", "0 takes the likeliest token each time (default 0).", 0.0, 10.0);
        var topP = Values.Number("--top-p", "Draw among the likeliest tokens that reach this probability (default 1).", 0.001, 1.0);
        var seed = Values.Number("--seed", "Of the drawing (default 0).", 0, int.MaxValue);
        var dtype = Values.Dtype("float32; bfloat16 on an accelerator");
        var device = Values.Device();
        var threads = Values.Number("--threads", "Threads (default 1).", 1, 256);
        var command = new Command("chat", "Ask the model's language model something.") { question, image, model, system, maximum, temperature, topP, seed, dtype, device, threads };
        command.SetAction((result, stop) =>
        {
            var text = PromptFileCheck.Read(result.GetValue(question)!);
            PromptImage[] images = [.. (result.GetValue(image) ?? []).Select(Picture)];
            var folder = InstalledModels.Find(result.GetValue(model)!);
            foreach (var piece in LoadedChat.Ask(
                folder,
                result.GetValue(dtype),
                result.GetValue(threads) ?? 1,
                result.GetValue(device)!,
                new ChatOptions(
                    result.GetValue(temperature) ?? 0, result.GetValue(topP) ?? 1, result.GetValue(seed) ?? 0, result.GetValue(maximum) ?? 512, result.GetValue(system)),
                text,
                images,
                stop))
            {
                Console.Write(piece);
                Console.Out.Flush();
            }

            Console.WriteLine();
            return Task.FromResult(ExitCodes.Success);
        });
        return command;
    }

    private static PromptImage Picture(string path)
    {
        try
        {
            return PromptImage.OfFile(File.ReadAllBytes(path));
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ImageFormatException)
        {
            throw new UsageException(error is ImageFormatException ? $"--image {path}: {error.Message}" : $"--image {path}: cannot be read: {error.Message}");
        }
    }
}
