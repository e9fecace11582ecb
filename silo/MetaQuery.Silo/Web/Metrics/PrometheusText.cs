using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace MetaQuery.Silo.Web;

/// <summary>Listens to the process' meters and writes them in Prometheus' text format (version 0.0.4), with OpenTelemetry's rules for names.</summary>
/// <remarks>There is no stable OpenTelemetry exporter for it; this holds what ours and ASP.NET Core's meters need.</remarks>
internal sealed class PrometheusText : IMetricsText, IDisposable
{
    private const int MostSeries = 2000; // of one instrument: a label that grows without end must not take the memory
    private static readonly double[] Buckets = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

    private readonly ConcurrentDictionary<Instrument, Family> _families = new();
    private readonly MeterListener _listener = new();
    private readonly Lock _writing = new();

    /// <param name="meters">Names of the meters that are written.</param>
    /// <param name="scope">The meter factory they belong to: a second server in the process has its own.</param>
    public PrometheusText(IReadOnlySet<string> meters, object scope)
    {
        _listener.InstrumentPublished = (instrument, listener) =>
        {
            if (meters.Contains(instrument.Meter.Name) && (instrument.Meter.Scope is null || instrument.Meter.Scope == scope))
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => Record(instrument, value, tags));
        _listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => Record(instrument, value, tags));
        _listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => Record(instrument, value, tags));
        _listener.SetMeasurementEventCallback<float>((instrument, value, tags, _) => Record(instrument, value, tags));
        _listener.Start();
    }

    public string Write()
    {
        lock (_writing) // two scrapes at once would clear each other's values
        {
            return WriteAll();
        }
    }

    public void Dispose() => _listener.Dispose();

    private string WriteAll()
    {
        foreach (Family family in _families.Values)
        {
            family.Begin();
        }

        _listener.RecordObservableInstruments();
        var text = new StringBuilder();
        foreach (Family family in _families.Values.OrderBy(family => family.Name, StringComparer.Ordinal))
        {
            family.Write(text);
        }

        return text.ToString();
    }

    private void Record(Instrument instrument, double value, ReadOnlySpan<KeyValuePair<string, object?>> tags) =>
        _families.GetOrAdd(instrument, static made => new Family(made)).Record(value, Labels(tags));

    private static string Labels(ReadOnlySpan<KeyValuePair<string, object?>> tags)
    {
        if (tags.IsEmpty)
        {
            return "";
        }

        var parts = new List<string>(tags.Length);
        foreach ((string name, object? value) in tags)
        {
            string text = Convert.ToString(value, CultureInfo.InvariantCulture) ?? "";
            parts.Add($"{Name(name)}=\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)}\"");
        }

        return string.Join(',', parts);
    }

    private static string Name(string name) => string.Concat(name.Select(letter => char.IsAsciiLetterOrDigit(letter) ? letter : '_'));

    private static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture) switch
    {
        "Infinity" => "+Inf",
        "-Infinity" => "-Inf",
        var text => text,
    };

    /// <summary>One instrument with all its series.</summary>
    private sealed class Family
    {
        private readonly Lock _lock = new();
        private readonly Dictionary<string, Series> _series = [];
        private readonly string _help;
        private readonly Kind _kind;
        private readonly double[] _bounds;

        public Family(Instrument instrument)
        {
            Type type = instrument.GetType().GetGenericTypeDefinition();
            _kind = type == typeof(Counter<>) ? Kind.Sum
                : type == typeof(UpDownCounter<>) ? Kind.UpDown
                : type == typeof(ObservableCounter<>) ? Kind.Total
                : type == typeof(Histogram<>) ? Kind.Histogram : Kind.Gauge;
            _bounds = instrument is Histogram<double> { Advice.HistogramBucketBoundaries: { } bounds } ? [.. bounds] : Buckets;
            _help = (instrument.Description ?? instrument.Name).Replace("\\", "\\\\", StringComparison.Ordinal).Replace('\n', ' ');
            Name = PrometheusText.Name(instrument.Name) + Unit(instrument.Unit) + (_kind is Kind.Sum or Kind.Total ? "_total" : "");
        }

        private enum Kind { Gauge, Sum, UpDown, Total, Histogram }

        public string Name { get; }

        /// <summary>What is observed anew at each look must not keep what is gone: a lane that has ended, a state.</summary>
        public void Begin()
        {
            if (_kind is Kind.Gauge or Kind.Total)
            {
                lock (_lock)
                {
                    _series.Clear();
                }
            }
        }

        public void Record(double value, string labels)
        {
            lock (_lock)
            {
                if (!_series.TryGetValue(labels, out Series? series))
                {
                    if (_series.Count == MostSeries)
                    {
                        return;
                    }

                    _series.Add(labels, series = new Series(_kind == Kind.Histogram ? new long[_bounds.Length] : []));
                }

                series.Count++;
                series.Value = _kind is Kind.Gauge or Kind.Total ? value : series.Value + value;
                for (int i = 0; i < series.Buckets.Length; i++)
                {
                    series.Buckets[i] += value <= _bounds[i] ? 1 : 0;
                }
            }
        }

        public void Write(StringBuilder text)
        {
            string type = _kind switch { Kind.Sum or Kind.Total => "counter", Kind.Histogram => "histogram", _ => "gauge" };
            text.Append($"# HELP {Name} {_help}\n# TYPE {Name} {type}\n");
            lock (_lock)
            {
                foreach ((string labels, Series series) in _series)
                {
                    string braced = labels.Length == 0 ? "" : $"{{{labels}}}";
                    if (_kind != Kind.Histogram)
                    {
                        text.Append($"{Name}{braced} {Number(series.Value)}\n");
                        continue;
                    }

                    string more = labels.Length == 0 ? "" : labels + ",";
                    for (int i = 0; i < _bounds.Length; i++)
                    {
                        text.Append($"{Name}_bucket{{{more}le=\"{Number(_bounds[i])}\"}} {series.Buckets[i]}\n");
                    }

                    text.Append($"{Name}_bucket{{{more}le=\"+Inf\"}} {series.Count}\n{Name}_sum{braced} {Number(series.Value)}\n{Name}_count{braced} {series.Count}\n");
                }
            }
        }

        // OpenTelemetry's names for Prometheus: the unit is part of the name, annotations in braces are not
        private static string Unit(string? unit) => unit switch
        {
            "s" => "_seconds",
            "By" => "_bytes",
            "{image}/s" => "_images_per_second",
            _ => "",
        };
    }

    private sealed class Series(long[] buckets)
    {
        public long[] Buckets { get; } = buckets;
        public long Count { get; set; }
        public double Value { get; set; }
    }
}
