using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>Where a job's prompts come from: read through as a stream, as often as needed.</summary>
internal abstract class PromptSource
{
    /// <summary>Valid prompts; known after <see cref="Validate"/>.</summary>
    public long Count { get; protected set; }

    /// <summary>SHA-256 of what the prompts are, lower-case hex.</summary>
    public string Digest { get; protected set; } = "";

    /// <summary>How the prompts are written: a file's format, or <c>literal</c>.</summary>
    public abstract string Format { get; }

    /// <summary>With skipping: the first bad lines.</summary>
    public IReadOnlyList<string> SkippedLines { get; protected set; } = [];

    /// <summary>How many lines were bad.</summary>
    public long SkippedCount { get; protected set; }

    /// <exception cref="JobSpecException">Neither a file nor prompts, or both.</exception>
    /// <exception cref="PromptFileException">The file is missing, empty or of an unknown kind.</exception>
    public static PromptSource Open(JobSpec spec) => (spec.PromptFile, spec.Prompts) switch
    {
        ({ } path, null) => new FileSource(PromptFile.Open(path), spec.SkipInvalid),
        (null, { Count: > 0 } prompts) => new LiteralSource(prompts, spec.Images),
        (null, { Count: 0 }) => throw new JobSpecException("no prompt was given; a job needs at least one"),
        (null, null) => throw new JobSpecException("neither a prompt file nor a prompt was given"),
        _ => throw new JobSpecException("both a prompt file and literal prompts were given; a job takes one of them"),
    };

    /// <summary>Goes through all prompts once.</summary>
    /// <param name="onPrompt">Called for each, in order.</param>
    /// <param name="cancellationToken">Stops between two prompts.</param>
    public abstract void Validate(Action<PromptLine> onPrompt, CancellationToken cancellationToken);

    public abstract IEnumerable<PromptLine> Read();

    private sealed class FileSource(PromptFile file, bool skipInvalid) : PromptSource
    {
        private PromptFileSummary? _summary;

        public override string Format => file.Format;

        public override void Validate(Action<PromptLine> onPrompt, CancellationToken cancellationToken)
        {
            _summary = file.Validate(skipInvalid, onPrompt: onPrompt, cancellationToken: cancellationToken);
            Count = _summary.PromptCount;
            Digest = _summary.Sha256;
            SkippedCount = _summary.ErrorCount;
            SkippedLines = [.. _summary.Errors.Select(error => error.ToString())];
        }

        public override IEnumerable<PromptLine> Read() => file.Read(_summary);
    }

    private sealed class LiteralSource(IReadOnlyList<string> prompts, IReadOnlyList<string> images) : PromptSource
    {
        public override string Format => "literal";

        public override void Validate(Action<PromptLine> onPrompt, CancellationToken cancellationToken)
        {
            using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            Span<byte> length = stackalloc byte[sizeof(int)];
            for (int i = 0; i < prompts.Count; i++)
            {
                CheckText(prompts[i], $"prompt {i + 1}", mayBeEmpty: images.Count > 0);
                byte[] text = Encoding.UTF8.GetBytes(prompts[i]);
                BinaryPrimitives.WriteInt32LittleEndian(length, text.Length);
                hash.AppendData(length);
                hash.AppendData(text);
            }

            Count = prompts.Count;
            Digest = Convert.ToHexStringLower(hash.GetHashAndReset());
            foreach (PromptLine line in Read())
            {
                onPrompt(line);
            }
        }

        public override IEnumerable<PromptLine> Read() =>
            prompts.Select((prompt, index) => new PromptLine { Line = index + 1, Index = index, Prompt = prompt, Images = images });
    }

    /// <summary>The rules a prompt file's text has, for text that comes by option.</summary>
    internal static void CheckText(string text, string what, bool mayBeEmpty, string? field = null)
    {
        int most = new PromptLimits().MaxPromptCharacters;
        if (!mayBeEmpty && string.IsNullOrWhiteSpace(text))
        {
            throw new JobSpecException($"{what} is empty") { Field = field };
        }

        if (text.Length > most)
        {
            throw new JobSpecException($"{what} has {text.Length} characters; at most {most} are taken") { Field = field };
        }

        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '\0' || (char.IsSurrogate(text[i]) && !char.IsSurrogatePair(text, i++)))
            {
                throw new JobSpecException($"{what} is not valid text: a NUL or half a surrogate pair at character {i}") { Field = field };
            }
        }
    }
}
