namespace MetaQuery.Chaos;

/// <summary>The farm did not stand a fault, or the run could not be set up: one line.</summary>
internal sealed class ChaosException(string message, Exception? inner = null) : Exception(message, inner);
