using MetaQuery.Models.Checkpoints;

namespace MetaQuery.TestKit;

public sealed partial class ParityCase
{
    private WeightSource? _inputs;
    private WeightSource? _expected;

    /// <summary>The tensors of inputs.safetensors.</summary>
    /// <exception cref="CheckpointException">The case has no such file, or it is malformed.</exception>
    public WeightSource Inputs => _inputs ??= SafetensorsFile.Open(PathOf("inputs.safetensors"));

    /// <summary>The tensors of expected.safetensors.</summary>
    /// <exception cref="CheckpointException">The case has no such file, or it is malformed.</exception>
    public WeightSource Expected => _expected ??= SafetensorsFile.Open(PathOf("expected.safetensors"));

    partial void DisposeTensors()
    {
        _inputs?.Dispose();
        _expected?.Dispose();
    }
}
