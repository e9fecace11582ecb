using System.Text.Json;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Sampling.Tests;

/// <summary>What the golden cases leave out of diffusers' settings: other spacings, algorithms, limits and starts.</summary>
[LeakCheck]
public sealed class SchedulerVariantTests
{
    private const string StableDiffusion =
        """ "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": false, "steps_offset": 0""";

    private static IScheduler Scheduler(string name, string settings = "") => Schedulers.Create(name, Config("{" + StableDiffusion + settings + "}"));

    private static Func<string, JsonElement?> Config(string json)
    {
        var root = JsonDocument.Parse(json).RootElement;
        return key => root.TryGetProperty(key, out var value) ? value : null;
    }

    // Whoever always names the same clean latents is led there, by every spacing and order, and whatever noise is added on the way:
    // the last level is 0. Single-precision factors of up to 15 leave 1e-5 of a value of size 4.
    [Theory]
    [InlineData("DPMSolverMultistepScheduler", """, "use_karras_sigmas": true""")]
    [InlineData("DPMSolverMultistepScheduler", """, "use_exponential_sigmas": true, "solver_order": 3""")]
    [InlineData("DPMSolverMultistepScheduler", """, "use_beta_sigmas": true, "solver_type": "heun" """)]
    [InlineData("DPMSolverMultistepScheduler", """, "use_lu_lambdas": true, "solver_order": 1""")]
    [InlineData("DPMSolverMultistepScheduler", """, "timestep_spacing": "trailing", "rescale_betas_zero_snr": true""")]
    [InlineData("DPMSolverMultistepScheduler", """, "beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1, "solver_order": 3""")]
    [InlineData("DPMSolverMultistepScheduler", """, "algorithm_type": "sde-dpmsolver++", "solver_order": 3""")]
    [InlineData("DPMSolverMultistepScheduler", """, "algorithm_type": "sde-dpmsolver++", "solver_type": "heun" """)]
    [InlineData("DDIMScheduler", "")]
    [InlineData("DDIMScheduler", """, "timestep_spacing": "trailing", "rescale_betas_zero_snr": true""")]
    [InlineData("DDPMScheduler", "")]
    [InlineData("DDPMScheduler", """, "variance_type": "fixed_large", "timestep_spacing": "linspace" """)]
    public void One_prediction_throughout_is_where_the_trajectory_ends(string name, string settings)
    {
        using var scope = NewDisposeScope();
        var clean = CounterNoise.Latents([1], 2, 3, 3);
        using var run = Schedulers.Create(name, Config("""{"prediction_type": "sample", "clip_sample": false""" + settings + "}")).Begin(12);
        var latents = CounterNoise.Latents([2], 2, 3, 3) * 3;
        foreach (var step in Enumerable.Range(0, run.Timesteps.Count))
        {
            latents = run.Step(clean, latents, run.NeedsNoise ? CounterNoise.Latents([2], 2, 3, 3, (uint)step + 1) : null);
        }

        Assert.True((latents - clean).abs().max().item<float>() < 1e-5);
    }

    // With one noise throughout, x_t = √ᾱ x₀ + √(1 − ᾱ) ε is exact for DDIM's step and for PNDM's, of any order and start.
    [Theory]
    [InlineData("DDIMScheduler", "", 1)]
    [InlineData("DDIMScheduler", "", 9)]
    [InlineData("PNDMScheduler", """, "set_alpha_to_one": true, "skip_prk_steps": true""", 1)]
    [InlineData("PNDMScheduler", """, "set_alpha_to_one": true, "skip_prk_steps": true""", 2)]
    [InlineData("PNDMScheduler", """, "set_alpha_to_one": true, "skip_prk_steps": true""", 9)]
    [InlineData("PNDMScheduler", """, "set_alpha_to_one": true""", 4)]
    [InlineData("PNDMScheduler", """, "set_alpha_to_one": true""", 9)]
    public void One_noise_throughout_leads_back_to_the_clean_latents(string name, string settings, int steps)
    {
        using var scope = NewDisposeScope();
        var (clean, noise) = (CounterNoise.Latents([1], 2, 3, 3), CounterNoise.Latents([2], 2, 3, 3));
        var scheduler = Scheduler(name, settings);
        using var run = scheduler.Begin(steps);
        var betas = BetaSchedule.FromConfig(Config("{" + StableDiffusion + "}"));
        var latents = betas.AddNoise(clean, noise, [(long)run.Timesteps[0]]);
        foreach (var _ in run.Timesteps)
        {
            latents = run.Step(noise, latents);
        }

        Assert.True((latents - clean).abs().max().item<float>() < 2e-5, $"{(latents - clean).abs().max().item<float>()}");
    }

    // By diffusers' formulas in Python, rounded to float32 where NumPy and torch do; Beta's quantiles by numeric integration.
    [Theory]
    [InlineData("use_karras_sigmas", new[] { 999, 786, 427, 59, 0 }, new[] { 14.6146469, 4.79654408, 1.27410531, 0.247951701, 0.0291675329, 0 })]
    [InlineData("use_exponential_sigmas", new[] { 998, 680, 233, 20, 0 }, new[] { 14.6146469, 3.08898759, 0.652895987, 0.137997702, 0.0291675329, 0 })]
    [InlineData("use_lu_lambdas", new[] { 999, 681, 233, 20, 0 }, new[] { 14.6146469, 3.08898783, 0.652896047, 0.137997717, 0.0291675366, 0 })]
    [InlineData("use_beta_sigmas", new[] { 998, 966, 874, 634, 0 }, new[] { 14.6146469, 12.0522642, 7.32190704, 2.59155011, 0.0291675329, 0 })]
    public void Levels_of_their_own_spacing_are_the_references(string key, int[] timesteps, double[] sigmas)
    {
        using var run = Scheduler("DPMSolverMultistepScheduler", $", \"{key}\": true").Begin(5);
        Assert.Equal(timesteps, run.Timesteps.Select(timestep => (int)timestep));
        Assert.All(run.Sigmas.Zip(sigmas), pair => Assert.Equal(pair.Second, pair.First, 2e-6 * (1 + pair.Second)));
    }

    [Theory]
    [InlineData(3, new[] { 999, 666, 332 })]
    [InlineData(7, new[] { 999, 856, 713, 570, 428, 285, 142 })]
    public void Trailing_timesteps_end_one_stride_above_zero(int steps, int[] timesteps)
    {
        foreach (var name in new[] { "DPMSolverMultistepScheduler", "DDIMScheduler", "DDPMScheduler" })
        {
            using var run = Scheduler(name, """, "timestep_spacing": "trailing" """).Begin(steps);
            Assert.Equal(timesteps, run.Timesteps.Select(timestep => (int)timestep));
        }
    }

    [Fact]
    public void A_clipped_cosine_schedule_begins_below_its_limit()
    {
        using var run = Schedulers.Create(
            "DPMSolverMultistepScheduler", Config("""{"beta_schedule": "squaredcos_cap_v2", "lambda_min_clipped": -5.1}""")).Begin(5);
        Assert.Equal([995, 796, 597, 398, 199], run.Timesteps.Select(timestep => (int)timestep));
    }

    [Fact]
    public void Clean_values_are_clipped_or_scaled_into_their_limits()
    {
        using var scope = NewDisposeScope();
        var clean = tensor(new float[] { 0.5f, -4, 2, 1 }, [1, 1, 2, 2]);
        var start = zeros(1, 1, 2, 2);
        float[] End(string name, string settings)
        {
            using var run = Schedulers.Create(name, Config("""{"prediction_type": "sample" """ + settings + "}")).Begin(1);
            return run.Step(clean, start).data<float>().ToArray();
        }

        // DDIM's one step from timestep 0 to ᾱ = 1: the clipped clean values, and nothing of the direction.
        Assert.Equal([0.5f, -1.5f, 1.5f, 1], End("DDIMScheduler", """, "clip_sample_range": 1.5"""));
        // The half-way value between the second largest (2) and the largest (4) magnitude is 3: everything within ±3, divided by it.
        Assert.Equal(
            [0.5f / 3, -1, 2f / 3, 1f / 3],
            End("DPMSolverMultistepScheduler", """, "thresholding": true, "dynamic_thresholding_ratio": 0.83333333333, "sample_max_value": 10"""),
            (a, b) => Math.Abs(a - b) < 1e-6);
        // Never scaled up: below 1 it is clipping to ±1.
        Assert.Equal([0.5f, -1, 1, 1], End("DPMSolverMultistepScheduler", """, "thresholding": true, "dynamic_thresholding_ratio": 0"""), (a, b) => Math.Abs(a - b) < 1e-6);
    }

    [Fact]
    public void A_scheduler_that_adds_noise_refuses_to_go_without()
    {
        using var scope = NewDisposeScope();
        using var run = Scheduler("DDPMScheduler").Begin(2);
        Assert.True(run.NeedsNoise);
        var latents = zeros(1, 1, 1, 1);
        Assert.Contains("adds noise", Assert.Throws<InvalidOperationException>(() => run.Step(latents, latents)).Message);
    }

    [Fact]
    public void MetaQuery_samples_with_DPM_Solver_whatever_the_file_is_of_except_flow_Euler()
    {
        var pndm = Assert.IsType<DpmSolverMultistepScheduler>(Schedulers.ForMetaQuery(Config("""{"_class_name": "PNDMScheduler", "steps_offset": 1}""")));
        Assert.Equal("dpmsolver++", pndm.AlgorithmType);
        Assert.IsType<FlowMatchEulerDiscreteScheduler>(Schedulers.ForMetaQuery(Config("""{"_class_name": "FlowMatchEulerDiscreteScheduler"}""")));
    }

    [Fact]
    public void An_offset_that_leads_out_of_the_training_schedule_is_refused_with_both_numbers()
    {
        var error = Assert.Throws<SchedulerException>(() => Schedulers.Create("DDIMScheduler", Config("""{"steps_offset": 1}""")).Begin(1000));
        Assert.Contains("steps_offset is 1", error.Message);
        Assert.Contains("1000", error.Message);
        Assert.Contains("at least 4 steps", Assert.Throws<SchedulerException>(() => Scheduler("PNDMScheduler").Begin(3)).Message);
    }
}
