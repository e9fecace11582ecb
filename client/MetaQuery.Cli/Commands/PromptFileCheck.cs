using MetaQuery.Data;
using MetaQuery.Farm;

namespace MetaQuery.Cli.Commands;

/// <summary>What can be known of a prompt before a model is loaded.</summary>
internal static class PromptFileCheck
{
    // A job reads its file through before it starts in any case; up to this length once more costs less than a user's wait for the model.
    private const long QuickBytes = 16L << 20;

    /// <summary>Refuses a bad prompt file before the model is loaded, if that takes no time; a long file is left to the job's own pass.</summary>
    /// <exception cref="PromptFileException">Missing, a folder, empty, of an unknown kind, or with an invalid line that may not be skipped.</exception>
    public static void Quickly(JobSpec spec, CancellationToken cancellationToken)
    {
        if (spec.PromptFile is not { } path)
        {
            return;
        }

        var file = PromptFile.Open(path);
        if (new FileInfo(path).Length <= QuickBytes)
        {
            file.Validate(spec.SkipInvalid, cancellationToken: cancellationToken);
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
