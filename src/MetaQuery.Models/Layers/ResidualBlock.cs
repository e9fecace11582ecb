using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Models.Layers;

/// <summary>What all residual blocks of a UNet or an AutoencoderKL share.</summary>
/// <param name="Groups">norm_num_groups.</param>
/// <param name="Epsilon">Of the group norms.</param>
/// <param name="Activation">act_fn.</param>
/// <param name="TimeChannels">Width of the time embedding; 0 without one.</param>
/// <param name="ScaleAndShift">The embedding scales and shifts the second norm instead of being added before it.</param>
internal sealed record ResidualBlockOptions(int Groups, double Epsilon, Func<Tensor, Tensor> Activation, int TimeChannels = 0, bool ScaleAndShift = false);

/// <summary>ResnetBlock2D of diffusers 0.33: norm, activation, 3 × 3 convolution, the time embedding, and once more; the input is added.
/// The stream is float32 and channels-last whatever the weights are.</summary>
internal sealed class ResidualBlock
{
    private readonly ResidualBlockOptions options;
    private readonly GroupNorm norm1;
    private readonly Conv2d conv1;
    private readonly Linear? timeProjection;
    private readonly GroupNorm norm2;
    private readonly Conv2d conv2;
    private readonly Conv2d? shortcut;
    private readonly double outputScale;

    /// <param name="scope">Holds norm1, conv1, norm2, conv2; time_emb_proj and conv_shortcut where needed.</param>
    /// <param name="inputs">Channels in.</param>
    /// <param name="outputs">Channels out.</param>
    /// <param name="options">Shared settings.</param>
    /// <param name="outputScale">What the sum is divided by.</param>
    public ResidualBlock(ParameterScope scope, int inputs, int outputs, ResidualBlockOptions options, double outputScale = 1)
    {
        (this.options, this.outputScale) = (options, outputScale);
        norm1 = new GroupNorm(scope.Child("norm1"), inputs, options.Groups, options.Epsilon);
        conv1 = new Conv2d(scope.Child("conv1"), inputs, outputs, kernel: 3, channelsLast: true);
        timeProjection = options.TimeChannels > 0
            ? new Linear(scope.Child("time_emb_proj"), options.TimeChannels, options.ScaleAndShift ? 2 * outputs : outputs)
            : null;
        norm2 = new GroupNorm(scope.Child("norm2"), outputs, options.Groups, options.Epsilon);
        conv2 = new Conv2d(scope.Child("conv2"), outputs, outputs, kernel: 3, channelsLast: true);
        shortcut = inputs == outputs ? null : new Conv2d(scope.Child("conv_shortcut"), inputs, outputs, kernel: 1, channelsLast: true);
    }

    /// <param name="x">[B, C, height, width], float32.</param>
    /// <param name="time">The activated time embedding, [B, time channels]; null without one.</param>
    /// <returns>float32.</returns>
    public Tensor Forward(Tensor x, Tensor? time = null)
    {
        using var scope = NewDisposeScope();
        var hidden = conv1.Forward(options.Activation(norm1.Forward(x))).to(ScalarType.Float32);
        var projected = timeProjection?.Forward(time!).to(ScalarType.Float32).unsqueeze(-1).unsqueeze(-1);
        if (projected is not null && !options.ScaleAndShift)
        {
            hidden = hidden + projected;
        }

        hidden = norm2.Forward(hidden);
        if (projected is not null && options.ScaleAndShift)
        {
            var halves = projected.chunk(2, 1);
            hidden = (hidden * (halves[0] + 1)) + halves[1];
        }

        hidden = conv2.Forward(options.Activation(hidden)).to(ScalarType.Float32);
        var sum = (shortcut?.Forward(x).to(ScalarType.Float32) ?? x) + hidden;
        return (outputScale == 1 ? sum : sum / outputScale).MoveToOuterDisposeScope();
    }
}
