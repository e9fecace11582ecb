namespace MetaQuery.Pipelines;

/// <summary>Something that a pipeline was given cannot be used: one line saying what, where and what would be right.</summary>
public sealed class PipelineException : Exception
{
    public PipelineException(string message) : base(message) { }

    public PipelineException(string message, Exception innerException) : base(message, innerException) { }

    /// <summary>Always false: the same input fails again.</summary>
    public bool IsTransient => false;
}
