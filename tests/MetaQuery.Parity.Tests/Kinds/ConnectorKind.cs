using MetaQuery.Models.Checkpoints;
using MetaQuery.Models.Connector;
using MetaQuery.TestKit;
using TorchSharp;
using static TorchSharp.torch;

namespace MetaQuery.Parity.Tests.Kinds;

/// <summary>The connector, state by state, and the gradients of a mean squared error.</summary>
public sealed class ConnectorKind : IParityKind
{
    public IReadOnlyList<string> Kinds => ["connector"];

    public void Run(ParityCase parityCase, ParityReport report)
    {
        using var scope = NewDisposeScope();
        var folder = HuggingFaceFolder.Open(parityCase.PathOf(parityCase.Json.GetProperty("model").GetString()!));
        using var weights = folder.OpenWeights();
        using var connector = new MetaQueryConnector(ReadConfig(folder.ReadConfig()), weights);
        foreach (var weight in connector.Named())
            weight.Holder.requires_grad = true;
        var hidden = parityCase.Inputs.Load("hidden_states").clone();
        hidden.requires_grad = true;

        using var actual = new ObservedStates();
        var condition = connector.Forward(hidden, actual.Add);
        var loss = nn.functional.mse_loss(condition, parityCase.Inputs.Load("target"));
        loss.backward();
        actual.Add("condition", condition);
        actual.Add("loss", loss.reshape(1));

        var tolerance = parityCase.Tolerance();
        foreach (var key in parityCase.Expected.Keys)
        {
            var expected = parityCase.Expected.Load(key);
            if (key == "grad.hidden_states")
            {
                var limit = parityCase.Json.GetProperty("gradientTolerance").GetProperty("relativeL2PerTensor").GetDouble();
                report.Close(key, GradientComparison.RelativeError(hidden.grad!, expected), 0, new ParityTolerance(limit, 0));
                continue;
            }

            report.That(key, actual.Find(key) is not null, "the connector does not show it");
            if (actual.Find(key) is { } value)
                report.Close(key, value, expected, tolerance);
        }

        GradientComparison.Compare(connector.Named(), "", parityCase, report);
        ComparePacked(folder, parityCase, report);
    }

    private static void ComparePacked(HuggingFaceFolder folder, ParityCase parityCase, ParityReport report)
    {
        using var mode = inference_mode();
        using var scope = NewDisposeScope();
        using var weights = folder.OpenWeights();
        using var connector = new MetaQueryConnector(ReadConfig(folder.ReadConfig()), weights, packed: true);
        using var actual = new ObservedStates();
        actual.Add("condition", connector.Forward(parityCase.Inputs.Load("hidden_states"), actual.Add));
        foreach (var key in parityCase.Expected.Keys.Where(key => actual.Find(key) is not null))
        {
            var expected = parityCase.Expected.Load(key);
            report.Close($"{key} by packed layers", actual[key].view(expected.shape), expected, parityCase.Tolerance());
        }
    }

    private static ConnectorConfig ReadConfig(ConfigFile config)
    {
        foreach (var name in new[] { "qk_norm", "rope" })
        {
            if (!config.Boolean(name, true))
                throw config.Error(name, "is false; a connector without it is not built");
        }

        return new ConnectorConfig(
            config.Int32("hidden_size"), config.Int32("intermediate_size"), config.Int32("num_hidden_layers"), config.Int32("num_attention_heads"),
            config.Int32("num_key_value_heads", config.Int32("num_attention_heads")), config.Int32("output_size"))
        {
            RmsNormEpsilon = config.Double("rms_norm_eps", 1e-6),
            OutputNormEpsilon = config.Double("output_norm_eps", 1e-5),
            RotaryTheta = config.Double("rope_theta", 10000),
        };
    }
}
