namespace MetaQuery.Silo.Web;

/// <summary>What /metrics answers with.</summary>
internal interface IMetricsText
{
    /// <summary>All instruments as they stand, in Prometheus' text format 0.0.4.</summary>
    string Write();
}
