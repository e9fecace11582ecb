using MetaQuery.TestKit;
using TorchSharp;
using TorchSharp.Modules;
using TorchSharp.Utils;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

[LeakCheck]
public sealed class ModuleTests
{
    sealed class Block : nn.Module<Tensor, Tensor>
    {
        readonly LayerNorm norm = nn.LayerNorm(4);
        readonly ModuleList<Linear> layers = nn.ModuleList(nn.Linear(4, 4), nn.Linear(4, 4, hasBias: false));
        [ComponentName(Name = "scale_shift_table")] readonly Parameter table = new(zeros(2, 4));
        readonly Tensor positions = arange(4);

        public Block()
            : base("Block") => RegisterComponents();

        public override Tensor forward(Tensor input)
        {
            using var scope = NewDisposeScope();
            var x = norm.call(input) * (1 + table[0]) + table[1];
            foreach (var layer in layers) x = layer.call(x);
            return x.MoveToOuterDisposeScope();
        }
    }

    [Fact]
    public void A_state_dictionary_has_dotted_names_in_the_order_of_the_fields()
    {
        using var block = new Block();
        Assert.Equal(
            ["scale_shift_table", "norm.weight", "norm.bias", "layers.0.weight", "layers.0.bias", "layers.1.weight", "positions"],
            block.state_dict().Keys);
        Assert.Equal("inner.norm.weight", block.state_dict(prefix: "inner").Keys.ElementAt(1));
        Assert.Equal(6, block.parameters().Count());
    }

    [Fact]
    public void Loading_copies_values_and_names_what_is_wrong()
    {
        using var scope = NewDisposeScope();
        using Block from = new(), to = new();
        to.load_state_dict(from.state_dict());
        var x = randn(3, 4);
        Values.Close(from.call(x), to.call(x), 0);

        var state = new Dictionary<string, Tensor>(from.state_dict());
        state.Remove("norm.bias");
        state["other"] = ones(1);
        var error = Assert.Throws<InvalidOperationException>(() => to.load_state_dict(state));
        Assert.Contains("missing keys [norm.bias]", error.Message);
        Assert.Contains("unexpected keys [other]", error.Message);
        var (missing, unexpected) = to.load_state_dict(state, strict: false);
        Assert.Equal(["norm.bias"], missing);
        Assert.Equal(["other"], unexpected);
        state["norm.weight"] = ones(5);
        Assert.Contains("'norm.weight' is [5], the module's is [4]", Assert.Throws<TorchException>(() => to.load_state_dict(state, strict: false)).Message);
    }

    [Fact]
    public void A_module_changes_type_in_place_and_keeps_its_parameter_objects()
    {
        using var block = new Block();
        var parameters = block.parameters().ToList();
        block.to(bfloat16);
        Assert.All(parameters, parameter => Assert.Equal(bfloat16, parameter.dtype));
        Assert.Equal(parameters, block.parameters(), ReferenceEqualityComparer.Instance as IEqualityComparer<Parameter>);
        Assert.Equal(int64, block.get_buffer("positions")!.dtype);
        Assert.All(parameters, parameter => Assert.True(parameter.requires_grad && parameter.is_leaf));
    }

    [Fact]
    public void Dropout_acts_only_while_training()
    {
        using var scope = NewDisposeScope();
        using var network = nn.Sequential(nn.Identity(), nn.Dropout(0.5));
        var x = ones(1000);
        var dropped = Values.Of(network.call(x)).Count(value => value == 0);
        Assert.InRange(dropped, 400, 600); // binomial: 500, standard deviation 16
        network.eval();
        Values.Close(x, network.call(x), 0);
    }

    [Fact]
    public void A_module_disposes_what_it_registered()
    {
        var before = Tensor.TotalCount;
        using (NewDisposeScope()) new Block().Dispose();
        Assert.Equal(before, Tensor.TotalCount);
    }

    [Fact]
    public void Names_that_would_break_the_dotted_ones_are_refused()
    {
        using var block = new Block();
        using var other = nn.Linear(1, 1);
        Assert.Throws<ArgumentException>(() => block.register_module("a.b", other));
        Assert.Throws<InvalidOperationException>(() => block.register_module("norm", other));
    }
}
