namespace MetaQuery.Farm;

/// <summary>One prompt whose condition is wanted. The empty caption is the unconditional prompt.</summary>
/// <param name="Caption">The user's text, not yet templated; special tokens in it are the encoder's to neutralise.</param>
/// <param name="ImageHashes">SHA-256 (lower-case hex) of each input picture's file, in order, or a <see cref="BlackPicture"/>'s name; empty for text alone.</param>
public sealed record ConditionRequest(string Caption, IReadOnlyList<string> ImageHashes)
{
    public ConditionRequest(string caption) : this(caption, []) { }
}

/// <summary>All that shapes a condition besides the request itself; it enters every <see cref="ConditionKey"/>.</summary>
/// <param name="ModelRevision">Digest of the weights that make the condition: MLLM, query tokens, connector.</param>
/// <param name="Tokenizer">Digest of the vocabulary, merges and added tokens.</param>
/// <param name="ChatTemplate">The checkpoint's own template text, or its digest.</param>
/// <param name="SystemPrompt">The system prompt's text.</param>
/// <param name="QueryTokens">N, the number of learned query tokens.</param>
/// <param name="Dtype">What the condition is computed in and stored in, such as <c>bfloat16/bfloat16</c>.</param>
/// <param name="Numerics">The encoder's own numerics: two machines' conditions may differ in their last bits, and a cache may be shared.</param>
/// <param name="ConditionBytes">Size of one condition in bytes; conditions of one encoder all have it.</param>
public sealed record ConditionIdentity(
    string ModelRevision, string Tokenizer, string ChatTemplate, string SystemPrompt, int QueryTokens, string Dtype, string Numerics, int ConditionBytes);

/// <summary>The first half of the pipeline: prompts to conditions. A condition is opaque bytes here.</summary>
/// <remarks>
/// A result is a function of its own request: bit for bit the same whatever else is in the call and in whatever order.
/// An instance is called by one thread at a time; a farm asks for one instance per slot (<see cref="IFarmModel"/>).
/// </remarks>
public interface IConditionEncoder
{
    ConditionIdentity Identity { get; }

    /// <param name="requests">What to encode.</param>
    /// <param name="progress">To be called after each prompt: a batch that is silent for long is taken to hang. Null where nobody listens.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>One condition per request, in order, each of <see cref="ConditionIdentity.ConditionBytes"/> bytes.</returns>
    /// <exception cref="PictureException">A picture is not there, or the model reads none.</exception>
    /// <exception cref="OperationCanceledException">When <paramref name="cancellationToken"/> fires.</exception>
    IReadOnlyList<byte[]> Encode(IReadOnlyList<ConditionRequest> requests, Action? progress, CancellationToken cancellationToken);
}
