using System.Text.Json;
using MetaQuery.Sampling;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling.Tests;

[LeakCheck]
public sealed class SchedulerTests
{
    private const string Sana = """{"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "flow_prediction", "use_flow_sigmas": true, "flow_shift": 3.0""";

    private static Func<string, JsonElement?> Config(string json)
    {
        var root = JsonDocument.Parse(json).RootElement;
        return key => root.TryGetProperty(key, out var value) ? value : null;
    }

    [Fact]
    public void Timesteps_are_truncated_and_sigmas_are_not()
    {
        using var run = Schedulers.FromConfig(Config(Sana + "}")).Begin(20);
        Assert.Equal(999, run.Timesteps[0]);
        Assert.Equal(0.99967f, run.Sigmas[0], 5e-6f);
        Assert.All(run.Timesteps, timestep => Assert.Equal(MathF.Truncate(timestep), timestep));
        Assert.Contains(run.Sigmas, sigma => sigma * 1000 != MathF.Truncate(sigma * 1000));
        Assert.Equal(0, run.Sigmas[20]);
    }

    // With one velocity everywhere the prediction of x0 never changes, so that every order has to land on it. The first sigma's
    // distance from 1 (3e-4) leaves rounding room of 1e-7 / 3e-4 in no coefficient that survives: 1e-5 covers 30 roundings of x.
    [Theory]
    [InlineData(1, "midpoint", 1)]
    [InlineData(2, "midpoint", 20)]
    [InlineData(2, "heun", 7)]
    [InlineData(3, "midpoint", 30)]
    public void A_straight_flow_ends_at_its_clean_latents(int order, string type, int steps)
    {
        using var scope = NewDisposeScope();
        var clean = CounterNoise.Latents([1], 2, 3, 3);
        var noise = CounterNoise.Latents([2], 2, 3, 3);
        using var run = Schedulers.FromConfig(Config($$"""{{Sana}}, "solver_order": {{order}}, "solver_type": "{{type}}"}""")).Begin(steps);
        var velocity = noise - clean;
        var sigma = run.Sigmas[0];
        var latents = (clean * (1 - sigma)) + (noise * sigma);
        for (var i = 0; i < steps; i++)
        {
            latents = run.Step(velocity, latents);
        }

        Assert.True((latents - clean).abs().max().item<float>() < 1e-5);
    }

    [Fact]
    public void A_run_refuses_a_step_beyond_its_last()
    {
        using var scope = NewDisposeScope();
        using var run = Schedulers.FromConfig(Config(Sana + "}")).Begin(1);
        var latents = zeros(1, 1, 1, 1);
        run.Step(latents, latents);
        Assert.Equal("a run of 1 steps was asked for step 2", Assert.Throws<InvalidOperationException>(() => run.Step(latents, latents)).Message);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1001)]
    public void A_number_of_steps_outside_the_training_schedule_is_refused(int steps) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Schedulers.FromConfig(Config(Sana + "}")).Begin(steps));

    [Theory]
    [InlineData("""{"_class_name": "LCMScheduler"}""", "LCMScheduler")]
    [InlineData("""{"_class_name": "DDPMScheduler", "num_train_timesteps": 2000000000}""", "num_train_timesteps is 2000000000")]
    [InlineData("""{"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": true, "sigma_min": -1}""", "sigma_min is -1")]
    [InlineData("""{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift_terminal": 1}""", "shift_terminal is 1")]
    [InlineData("""{"_class_name": "DDIMScheduler", "beta_end": 1.5}""", "beta_end 1.5")]
    [InlineData("""{"_class_name": "DPMSolverMultistepScheduler", "prediction_type": "x"}""", "prediction_type is 'x'")]
    [InlineData("""{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}""", "final_sigmas_type is 'zero'")]
    [InlineData("""{"_class_name": "DPMSolverMultistepScheduler", "beta_schedule": "cubic"}""", "beta_schedule is 'cubic'")]
    [InlineData("""{"_class_name": "DPMSolverMultistepScheduler", "trained_betas": [0.1, 0.2]}""", "trained_betas has 2 values")]
    [InlineData("""{"_class_name": "DPMSolverMultistepScheduler", "variance_type": "learned_range"}""", "variance_type is learned")]
    [InlineData("""{"_class_name": "DDPMScheduler", "variance_type": "learned"}""", "variance_type is 'learned'")]
    [InlineData("""{"_class_name": "DDIMScheduler", "timestep_spacing": "log"}""", "timestep_spacing is 'log'")]
    [InlineData("""{"_class_name": "PNDMScheduler", "prediction_type": "sample"}""", "prediction_type is 'sample'")]
    [InlineData(Sana + """, "solver_order": 4}""", "solver_order is 4")]
    [InlineData(Sana + """, "solver_order": 2.5}""", "solver_order is 2.5")]
    [InlineData(Sana + """, "use_karras_sigmas": true, "use_beta_sigmas": true}""", "use_karras_sigmas and use_beta_sigmas")]
    [InlineData(Sana + """, "final_sigmas_type": "tail"}""", "final_sigmas_type is 'tail'")]
    [InlineData("""{"_class_name": "FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting": true}""", "use_dynamic_shifting")]
    [InlineData("""{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 0}""", "shift is 0")]
    public void What_is_not_supported_is_refused_in_one_line(string json, string part)
    {
        var error = Assert.Throws<SchedulerException>(() => Schedulers.FromConfig(Config(json)));
        Assert.Contains(part, error.Message);
        Assert.DoesNotContain('\n', error.Message);
    }

    [Fact]
    public void A_draw_just_below_an_entry_takes_the_entry_that_float32_makes_of_it()
    {
        var table = FlowTrainingTable.Create(1000, shift: 1);
        Assert.Equal(0, table.IndexOf(0));
        Assert.Equal(1000, table.Timesteps[0]);
        Assert.Equal(999, table.IndexOf(0.99999994f));
        Assert.Throws<ArgumentOutOfRangeException>(() => table.IndexOf(1));
    }

    [Fact]
    public void Guidance_follows_its_two_formulas()
    {
        using var scope = NewDisposeScope();
        var three = tensor(new float[] { 1, 2, 5, 7, 11, 13 }, [6, 1]); // u, u, ui, ui, c, c
        var scale = tensor(new float[] { 3, 2 }, [2, 1]);
        var imageScale = tensor(new float[] { 1.5f, 0.5f }, [2, 1]);
        Assert.Equal([1 + 3 * 10f, 2 + 2 * 11f], Guidance.TwoBranches(torch.cat([three.narrow(0, 0, 2), three.narrow(0, 4, 2)], 0), scale).data<float>().ToArray());
        Assert.Equal([1 + 1.5f * 4 + 3 * 6f, 2 + 0.5f * 5 + 2 * 6f], Guidance.ThreeBranches(three, scale, imageScale).data<float>().ToArray());
        Assert.Throws<ArgumentException>(() => Guidance.TwoBranches(three.narrow(0, 0, 3), scale));
    }
}
