using MetaQuery.Kernels;
using MetaQuery.TestKit;
using TorchSharp;
using static MetaQuery.Torch.Tests.Kernels.KernelCheck;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests.Kernels;

/// <summary>Rotation, grouped heads, causal order, ragged sequences and a shared prefix, against plain operators.</summary>
[LeakCheck]
public sealed unsafe class SequenceAttentionTests
{
    const long Heads = 6, Groups = 2, Size = 24, Capacity = 64, Most = 40;
    const float Scale = 0.25f;

    sealed class Cache : IDisposable
    {
        public readonly Tensor Keys = zeros(Groups, Size, Capacity).DetachFromDisposeScope(), Values = zeros(Groups, Capacity, Size).DetachFromDisposeScope();
        public long Count;

        public void Dispose()
        {
            Keys.Dispose();
            Values.Dispose();
        }
    }

    static (Tensor Cosines, Tensor Sines) Angles()
    {
        var frequencies = (arange(Size / 2).to(float32) * (-2.0 / Size * Math.Log(10000))).exp();
        var angles = arange(Most).to(float32).unsqueeze(1) * frequencies;
        return (angles.cos(), angles.sin());
    }

    static Tensor Run(Tensor qkv, long[] offsets, bool causal, Cache? cache = null, bool append = false, Tensor? queryGamma = null, Tensor? keyGamma = null, int threads = 1)
    {
        var (cosines, sines) = Angles();
        var result = empty(qkv.shape[0], Heads * Size);
        fixed (byte* source = qkv.bytes, cos = cosines.bytes, sin = sines.bytes, output = result.bytes)
        fixed (byte* keys = cache is null ? default : cache.Keys.bytes, values = cache is null ? default : cache.Values.bytes)
        fixed (byte* qGamma = queryGamma is null ? default : queryGamma.bytes, kGamma = keyGamma is null ? default : keyGamma.bytes)
        fixed (long* starts = offsets)
            SequenceKernels.Attention(
                (float*)source,
                new SequenceTokens { Offsets = starts, Sequences = offsets.Length - 1, Causal = causal },
                new RotaryAngles { Cosines = (float*)cos, Sines = (float*)sin },
                new CachedTokens { Keys = (float*)keys, Values = (float*)values, Capacity = cache is null ? 0 : Capacity, Count = cache?.Count ?? 0, Append = append },
                new HeadShape { Heads = Heads, Groups = Groups, HeadSize = Size, Scale = Scale, QueryGamma = (float*)qGamma, KeyGamma = (float*)kGamma },
                output, KernelType.Float32, threads);
        if (append) cache!.Count += qkv.shape[0];
        return result;
    }

    /// <summary>One sequence in float64, all of it present: qkv [L, (H + 2G) D]. Returns the last <paramref name="last"/> tokens.</summary>
    static Tensor Expected(Tensor qkv, bool causal, long last, Tensor? queryGamma = null, Tensor? keyGamma = null)
    {
        var length = qkv.shape[0];
        var parts = qkv.Wide().view(length, Heads + 2 * Groups, Size).transpose(0, 1);
        var (cosines, sines) = Angles();
        Tensor c = cosines.Wide()[..(int)length], s = sines.Wide()[..(int)length];
        Tensor Rotate(Tensor x)
        {
            var halves = x.chunk(2, -1);
            return cat([halves[0] * c - halves[1] * s, halves[1] * c + halves[0] * s], -1);
        }
        Tensor Normal(Tensor x, Tensor? gamma) => gamma is null ? x : x / x.square().sum(-1L, keepdim: true).sqrt() * gamma.Wide().unsqueeze(1);
        var q = Normal(Rotate(parts[..(int)Heads]), queryGamma);
        var k = Normal(Rotate(parts[(int)Heads..(int)(Heads + Groups)]), keyGamma).repeat_interleave(Heads / Groups, 0);
        var v = parts[(int)(Heads + Groups)..].repeat_interleave(Heads / Groups, 0);
        var scores = q.matmul(k.transpose(-1, -2)) * Scale;
        if (causal) scores = scores.masked_fill(ones([length, length], ScalarType.Bool).tril().logical_not(), double.NegativeInfinity);
        return scores.softmax(-1).matmul(v).transpose(0, 1).reshape(length, Heads * Size)[(int)(length - last)..];
    }

    static Tensor Tokens(long seed, long count) => KernelCheck.Normal(seed, count, (Heads + 2 * Groups) * Size);

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Ragged_sequences_each_see_their_own_tokens(bool causal)
    {
        using var scope = NewDisposeScope();
        Tensor a = Tokens(1, 7), b = Tokens(2, 1), c = Tokens(3, 37);
        var result = Run(cat([a, b, c]), [0, 7, 8, 45], causal);
        Close(cat([Expected(a, causal, 7), Expected(b, causal, 1), Expected(c, causal, 37)]), result);
        SameBits(result[7..8].contiguous(), Run(b, [0, 1], causal));
        SameBits(result[8..].contiguous(), Run(c, [0, 37], causal, threads: 2));
    }

    [Fact]
    public void A_prefix_in_the_cache_is_seen_by_every_sequence()
    {
        using var scope = NewDisposeScope();
        using var cache = new Cache();
        Tensor prefix = Tokens(1, 9), a = Tokens(2, 5), b = Tokens(3, 3);
        Close(Expected(prefix, causal: true, 9), Run(prefix, [0, 9], causal: true, cache, append: true));
        var result = Run(cat([a, b]), [0, 5, 8], causal: true, cache);
        Close(cat([Expected(cat([prefix, a]), true, 5), Expected(cat([prefix, b]), true, 3)]), result);
        SameBits(result[5..].contiguous(), Run(b, [0, 3], causal: true, cache));
    }

    [Fact]
    public void Token_by_token_behind_a_cache_equals_all_at_once()
    {
        using var scope = NewDisposeScope();
        using Cache one = new(), whole = new();
        var tokens = Tokens(1, 35); // beyond one pass of 32 positions
        var steps = Enumerable.Range(0, 35).Select(i => Run(tokens[i..(i + 1)], [0, 1], causal: true, one, append: true)).ToArray();
        SameBits(Run(tokens, [0, 35], causal: true, whole, append: true), cat(steps));
    }

    [Fact]
    public void Angles_of_tokens_take_the_place_of_angles_of_positions()
    {
        using var scope = NewDisposeScope();
        Tensor x = cat([Tokens(1, 4), Tokens(2, 7)]);
        var (cosines, sines) = Angles();
        var positions = tensor((long[])[0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6]);
        SameBits(Run(x, [0, 4, 11], causal: false), RunWith(x, [0, 4, 11], cosines.index_select(0, positions), sines.index_select(0, positions)));
    }

    [Fact]
    public void Without_angles_nothing_is_rotated()
    {
        using var scope = NewDisposeScope();
        var x = Tokens(1, 9);
        SameBits(RunWith(x, [0, 9], ones(9, Size / 2), zeros(9, Size / 2)), RunWith(x, [0, 9], null, null));
    }

    // An angle per token, or none.
    static Tensor RunWith(Tensor qkv, long[] offsets, Tensor? cosines, Tensor? sines)
    {
        var result = empty(qkv.shape[0], Heads * Size);
        fixed (byte* source = qkv.bytes, output = result.bytes, cos = cosines is null ? default : cosines.bytes, sin = sines is null ? default : sines.bytes)
        fixed (long* starts = offsets)
            SequenceKernels.Attention(
                (float*)source, new SequenceTokens { Offsets = starts, Sequences = offsets.Length - 1 },
                new RotaryAngles { Cosines = (float*)cos, Sines = (float*)sin, PerToken = true }, default,
                new HeadShape { Heads = Heads, Groups = Groups, HeadSize = Size, Scale = Scale }, output, KernelType.Float32, 1);
        return result;
    }

    [Fact]
    public void Norms_behind_the_rotation()
    {
        using var scope = NewDisposeScope();
        Tensor x = Tokens(1, 6), q = KernelCheck.Normal(2, Heads, Size), k = KernelCheck.Normal(3, Groups, Size);
        Close(Expected(x, causal: false, 6, q, k), Run(x, [0, 6], causal: false, queryGamma: q, keyGamma: k));
    }
}
