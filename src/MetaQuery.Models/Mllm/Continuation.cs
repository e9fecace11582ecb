using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Mllm;

/// <summary>A batch of texts that a decoder continues token by token: the cache, what is padding, and where each row stands.</summary>
public sealed class Continuation : IDisposable
{
    private readonly CausalDecoder _decoder;
    private readonly KeyValueCache? _cache;
    private readonly PackedCache? _packed;
    private readonly PositionAxes _axes = new(); // of the one row that may have pictures
    private Tensor? _attentionMask; // [B, T], int64

    public Continuation(CausalDecoder decoder)
    {
        ArgumentNullException.ThrowIfNull(decoder);
        _decoder = decoder;
        if (decoder.IsPacked)
            _packed = decoder.NewPackedCache();
        else
            _cache = decoder.NewCache();
    }

    /// <summary>Tokens that each row holds, padding included.</summary>
    public long Length => _packed?.Length ?? _cache!.Length;

    /// <summary>Reads further tokens.</summary>
    /// <param name="inputIds">[B, L], int64.</param>
    /// <param name="attentionMask">[B, L], int64: 0 is padding, at the left of the first call; null: none.</param>
    /// <returns>[B, vocabulary], float32: the logits of the token that follows.</returns>
    /// <exception cref="ArgumentException">Several rows, or padding, for a decoder with packed layers.</exception>
    public Tensor Read(Tensor inputIds, Tensor? attentionMask = null)
    {
        ArgumentNullException.ThrowIfNull(inputIds);
        using var scope = NewDisposeScope();
        if (_packed is not null)
        {
            if (inputIds.shape[0] != 1 || attentionMask is not null)
                throw new ArgumentException($"packed layers continue one text without padding, not {inputIds.shape[0]} rows", nameof(inputIds));
            return ReadPacked(_decoder.Embed(inputIds).squeeze(0)).MoveToOuterDisposeScope();
        }

        return ReadRows(_decoder.Embed(inputIds), attentionMask).MoveToOuterDisposeScope();
    }

    /// <summary>Reads further tokens of one text, pictures among them.</summary>
    /// <returns>[1, vocabulary], float32: the logits of the token that follows.</returns>
    public Tensor Read(PromptTokens prompt, Action<string, Tensor>? observe = null)
    {
        ArgumentNullException.ThrowIfNull(prompt);
        using var scope = NewDisposeScope();
        prompt.AddTo(_axes, Length);
        var embedded = prompt.Embed(_decoder);
        observe?.Invoke("embedding", embedded);
        return (_packed is null ? ReadRows(embedded.unsqueeze(0), attentionMask: null, observe) : ReadPacked(embedded, observe)).MoveToOuterDisposeScope();
    }

    private bool HasAxes => _decoder.Config.Rotary.Sections is not null && _axes.HasImages;

    private Tensor ReadPacked(Tensor embeddings, Action<string, Tensor>? observe = null)
    {
        var length = embeddings.shape[0];
        var positions = HasAxes ? _axes.Of(Length, length) : null;
        var states = _decoder.ForwardSequences(embeddings, [0, length], _packed, append: true, observe, positions);
        return _decoder.Logits(states.narrow(0, length - 1, 1));
    }

    private Tensor ReadRows(Tensor embeddings, Tensor? attentionMask, Action<string, Tensor>? observe = null)
    {
        var (rows, length) = (embeddings.shape[0], embeddings.shape[1]);
        var added = attentionMask ?? ones([rows, length], dtype: ScalarType.Int64, device: embeddings.device);
        var mask = _attentionMask is null ? added.clone() : cat([_attentionMask, added], 1);
        _attentionMask?.Dispose();
        _attentionMask = mask.DetachFromDisposeScope();
        var positions = HasAxes
            ? _axes.Of(mask.shape[1] - length, length).unsqueeze(1).to(embeddings.device)
            : Attention.Positions(mask).narrow(1, mask.shape[1] - length, length);
        var hidden = _decoder.Forward(embeddings, positions, Attention.CausalMask(mask, length), _cache, observe);
        return _decoder.Logits(hidden.select(1, length - 1));
    }

    /// <summary>Forgets all tokens after the first <paramref name="length"/>.</summary>
    public void Truncate(long length)
    {
        if (length == Length)
            return;
        using var scope = NewDisposeScope();
        _packed?.Truncate(length);
        _cache?.Truncate(length);
        _axes.Truncate(length);
        using var mask = _attentionMask;
        _attentionMask = mask?.narrow(1, 0, length).clone().DetachFromDisposeScope();
    }

    public void Dispose()
    {
        _cache?.Dispose();
        _packed?.Dispose();
        _attentionMask?.Dispose();
    }
}
