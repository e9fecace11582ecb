using TorchSharp;

namespace MetaQuery.Models.Layers;

/// <summary>Is shown the output of named submodules, to find where two implementations part. The tensor is borrowed.</summary>
/// <param name="path">The submodule's dotted name; ".0", ".1" are added where it returns several tensors.</param>
/// <param name="value">Its output.</param>
public delegate void ActivationTap(string path, torch.Tensor value);
