namespace MetaQuery.Farm;

/// <summary>Everything besides model, prompt, seed and settings that a picture's bits depend on.</summary>
/// <param name="Dtype">What the models compute in: <c>float32</c> or <c>bfloat16</c>.</param>
/// <param name="CpuCapability">The instruction set the tensor library chose, such as <c>avx512</c>; or the device's name.</param>
/// <param name="ThreadsPerSlot">Intra-operator threads.</param>
/// <param name="TensorLibrary">Name and version, such as <c>libtorch 1.13.1</c>.</param>
/// <param name="KernelPath">Which of our own kernels ran, such as <c>amx-bf16</c> or <c>reference</c>.</param>
public sealed record NumericsFingerprint(string Dtype, string CpuCapability, int ThreadsPerSlot, string TensorLibrary, string KernelPath)
{
    /// <summary>Stands for the dtype where a process computes nothing itself: its workers have their own.</summary>
    public const string AnyDtype = "any";

    /// <summary>The form that job.json and the manifest hold; frozen.</summary>
    public override string ToString() =>
        $"dtype={Dtype};cpu={CpuCapability};threads={ThreadsPerSlot};library={TensorLibrary};kernels={KernelPath}";
}
