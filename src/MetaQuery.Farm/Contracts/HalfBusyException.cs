namespace MetaQuery.Farm;

/// <summary>A half was cancelled while it waited for memory that the model's other half holds, or until it was loaded: nothing was computed, so nothing is wrong with what was asked of it.</summary>
public sealed class HalfBusyException(CancellationToken cancellationToken)
    : OperationCanceledException("cancelled while the half of the model was not there yet", cancellationToken);
