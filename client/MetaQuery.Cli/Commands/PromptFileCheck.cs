using MetaQuery.Data;

namespace MetaQuery.Cli.Commands;

/// <summary>What can be known of a prompt before a model is loaded.</summary>
internal static class PromptFileCheck
{
    /// <exception cref="PromptFileException">Missing, a folder, empty or of an unknown kind.</exception>
    public static void Exists(string? path)
    {
        if (path is not null)
        {
            PromptFile.Open(path);
        }
    }

    /// <summary>The prompt of the command line, or stdin for "-".</summary>
    /// <exception cref="UsageException">Empty, or not UTF-8.</exception>
    public static string Read(string prompt)
    {
        if (prompt == "-")
        {
            try
            {
                using var reader = new StreamReader(Console.OpenStandardInput(), new System.Text.UTF8Encoding(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true));
                prompt = reader.ReadToEnd().TrimEnd('\r', '\n');
            }
            catch (System.Text.DecoderFallbackException error)
            {
                throw new UsageException($"the prompt on stdin is not UTF-8 at byte {error.Index}");
            }
        }

        if (string.IsNullOrWhiteSpace(prompt))
        {
            throw new UsageException("the prompt is empty; say what the picture should show");
        }

        // .NET has put U+FFFD in the place of each byte of the command line that was no UTF-8.
        return prompt.Contains('\uFFFD')
            ? throw new UsageException($"the prompt is not UTF-8 at character {prompt.IndexOf('\uFFFD') + 1}")
            : prompt;
    }
}
