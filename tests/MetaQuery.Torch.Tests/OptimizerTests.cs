using MetaQuery.TestKit;
using TorchSharp;
using TorchSharp.Modules;
using static TorchSharp.torch;

namespace MetaQuery.Torch.Tests;

[LeakCheck]
public sealed class OptimizerTests
{
    /// <summary>
    /// Loss p^2 / 2 + p: the gradient is p + 1. By hand with lr 0.1, betas 0.9 and 0.99, decay 0.01, in double:
    /// step 1: g = 3, p = 2 * (1 - 0.001) = 1.998; m = 0.3, v = 0.09; corrected 3 and 9; p = 1.998 - 0.1 * 3 / 3 = 1.898.
    /// step 2: g = 2.898; p = 1.896102; m = 0.5598, v = 0.1730840...; corrected by 0.19 and 0.0199.
    /// </summary>
    [Fact]
    public void AdamW_takes_the_steps_computed_by_hand()
    {
        using var parameter = new Parameter(tensor(new[] { 2f }));
        using var optimizer = optim.AdamW([parameter], lr: 0.1, beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.01);
        Step(parameter, optimizer);
        Assert.Equal(1.898f, parameter.item<float>(), 1e-6f);
        Step(parameter, optimizer);
        var m = 0.9 * 0.3 + 0.1 * 2.898;
        var v = 0.99 * 0.09 + 0.01 * 2.898 * 2.898;
        var expected = 1.898 * (1 - 0.001) - 0.1 * (m / 0.19) / (Math.Sqrt(v / 0.0199) + 1e-8);
        Assert.Equal((float)expected, parameter.item<float>(), 1e-6f);
        Assert.Equal(2, optimizer.GetState(parameter).step);
    }

    static void Step(Parameter parameter, AdamW optimizer)
    {
        using var scope = NewDisposeScope();
        optimizer.zero_grad();
        (parameter.square() / 2 + parameter).sum().backward();
        optimizer.step();
    }

    [Fact]
    public void Groups_have_their_own_rate_and_a_parameter_without_a_gradient_stays()
    {
        using var fast = new Parameter(ones(1));
        using var slow = new Parameter(ones(1));
        using var idle = new Parameter(ones(1));
        using var optimizer = optim.AdamW([new AdamW.ParamGroup([fast, idle], lr: 0.5), new AdamW.ParamGroup([slow], lr: 0.25)]);
        using (NewDisposeScope()) (fast + slow).sum().backward();
        optimizer.step();
        // The first step of Adam is the rate itself, whatever the gradient's size.
        Assert.Equal(0.5f, fast.item<float>(), 1e-6f);
        Assert.Equal(0.75f, slow.item<float>(), 1e-6f);
        Assert.Equal(1f, idle.item<float>());
        Assert.Equal([0.5, 0.25], optimizer.ParamGroups.Select(group => group.LearningRate));
        fast.grad = slow.grad = null;
    }

    [Fact]
    public void A_least_squares_problem_converges()
    {
        using var scope = NewDisposeScope();
        using var generator = new Generator(5);
        var x = randn([64, 3], generator: generator);
        var truth = tensor(new[] { 1f, -2, 0.5f });
        using var weight = new Parameter(zeros(3).DetachFromDisposeScope());
        using var optimizer = optim.AdamW([weight], lr: 0.05);
        for (var i = 0; i < 300; i++)
        {
            using var step = NewDisposeScope();
            optimizer.zero_grad();
            nn.functional.mse_loss(x.mv(weight), x.mv(truth)).backward();
            optimizer.step();
        }
        Values.Close(Values.Of(truth), weight, 1e-3f);
        optimizer.zero_grad();
    }

    [Fact]
    public void Settings_out_of_range_are_refused() =>
        Assert.Throws<ArgumentException>(() => optim.AdamW(Array.Empty<Parameter>(), beta1: 1));
}
