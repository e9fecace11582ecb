namespace MetaQuery.Models.Checkpoints;

/// <summary>A model folder under <c>models/</c>.</summary>
/// <param name="Name">The folder's name, as <c>--model</c> takes it.</param>
/// <param name="Folder">Its full path.</param>
/// <param name="Parts">What it consists of; empty where <paramref name="Problem"/> says why.</param>
/// <param name="Problem">Why it cannot be used, in one line; null for a sound model.</param>
public sealed record InstalledModel(string Name, string Folder, IReadOnlyList<ModelPart> Parts, string? Problem = null)
{
    public long Bytes => Parts.Sum(static part => part.Bytes);
}

/// <summary>One network of a model.</summary>
/// <param name="Name">Its folder's name ("transformer"), or its file's ("metaquery").</param>
/// <param name="ClassName">What its configuration or metadata calls it; null where they do not say.</param>
/// <param name="Format">"GGUF" or "safetensors".</param>
/// <param name="Licence">An SPDX identifier where it could be told, else the name of the licence's file; null where there is none.</param>
/// <param name="Files">Its weights.</param>
public sealed record ModelPart(string Name, string? ClassName, string Format, string? Licence, IReadOnlyList<ModelFile> Files)
{
    public long Bytes => Files.Sum(static file => file.Bytes);
}

/// <summary>A file of weights.</summary>
/// <param name="Path">Relative to the model's folder, with forward slashes.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Sha256">In lower-case hexadecimal; null where it was not asked for.</param>
public sealed record ModelFile(string Path, long Bytes, string? Sha256);
