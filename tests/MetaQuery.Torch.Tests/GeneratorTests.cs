using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

[LeakCheck]
public sealed class GeneratorTests
{
    [Fact]
    public void The_same_seed_gives_the_same_numbers_whatever_else_is_drawn()
    {
        using var scope = NewDisposeScope();
        using Generator a = new(7), b = new(7), c = new(8);
        var first = randn([100], generator: a);
        _ = randn([33]);
        _ = randn([33], generator: c);
        Values.Close(first, randn([100], generator: b), 0);
        Assert.False(first.Equals(randn([100], generator: c.manual_seed(8).manual_seed(9))));
        Assert.Equal(7, a.initial_seed());
    }

    /// <summary>PyTorch's documented Mersenne Twister: torch.manual_seed(0); torch.rand(3).</summary>
    [Fact]
    public void The_default_generator_is_PyTorchs()
    {
        using var scope = NewDisposeScope();
        manual_seed(0);
        Values.Close([0.4962566f, 0.7682218f, 0.08847743f], rand(3), 1e-7f);
    }

    [Fact]
    public void A_state_can_be_kept_and_set_again()
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(1);
        _ = rand(5, generator: generator);
        var state = generator.get_state();
        var next = rand(5, generator: generator);
        generator.set_state(state);
        Values.Close(next, rand(5, generator: generator), 0);
    }
}
