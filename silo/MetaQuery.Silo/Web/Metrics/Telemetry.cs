using System.Diagnostics.Metrics;
using MetaQuery.Farm;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace MetaQuery.Silo.Web;

/// <summary>Metrics and traces, by OpenTelemetry: /metrics for Prometheus, and OTLP where the usual variables say where to.</summary>
internal static class Telemetry
{
    /// <summary>OpenTelemetry's variable that turns exports off.</summary>
    public const string Disabled = "OTEL_SDK_DISABLED";

    private static readonly string[] Meters = [FarmMeters.MeterName, "Microsoft.AspNetCore.Hosting", "Microsoft.AspNetCore.Server.Kestrel", "System.Runtime"];

    public static void Add(IServiceCollection services)
    {
        OpenTelemetryBuilder telemetry = services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddMeter(Meters).AddPrometheusExporter(text =>
        {
            text.ScrapeResponseCacheDurationMilliseconds = 0; // the farm is asked anew for each answer
            text.ScopeInfoEnabled = false; // names say whose they are
            text.TargetInfoEnabled = false;
        }));
        services.ConfigureOpenTelemetryMeterProvider((provider, metrics) =>
        {
            var own = provider.GetRequiredService<IMeterFactory>();
            metrics.AddView(instrument => instrument.Meter.Scope is null || instrument.Meter.Scope == own ? null : MetricStreamConfiguration.Drop); // of a second server in this process
        });
        if (Environment.GetEnvironmentVariable("OTEL_EXPORTER_OTLP_ENDPOINT") is null or "" || Environment.GetEnvironmentVariable(Disabled) == "true")
        {
            return;
        }

        services.AddHostedService<MetersRefresh>();
        telemetry
            .ConfigureResource(resource => resource.AddService("metaquery-farm").AddEnvironmentVariableDetector())
            .WithMetrics(metrics => metrics.AddOtlpExporter())
            .WithTracing(tracing => tracing.AddAspNetCoreInstrumentation().AddSource(FarmMeters.MeterName).AddOtlpExporter()); // the framework's own spans name no path
    }

    public static void MapMetrics(WebApplication app, WebOptions options)
    {
        var meters = app.Services.GetRequiredService<FarmMeters>();
        RequestDelegate answer = ((IApplicationBuilder)app).New().UseOpenTelemetryPrometheusScrapingEndpoint(_ => true).Build();
        app.Add("GET", "/metrics", "metrics", "Counters in Prometheus' text format.", async (HttpContext context) =>
        {
            if (!options.OpenMetrics)
            {
                Caller.RequireAdmin(context);
            }

            try
            {
                await meters.RefreshAsync(context.RequestAborted);
            }
            catch (FarmException exception) when (exception.IsTransient)
            {
                // the queue is away: metaquery_ready says so, and the rest stands as it was last known
            }

            await answer(context);
            return TypedResults.Empty;
        }).Produces<string>(200, "text/plain");
    }

    private sealed class MetersRefresh(FarmMeters meters) : BackgroundService
    {
        protected override async Task ExecuteAsync(CancellationToken stoppingToken)
        {
            using var timer = new PeriodicTimer(TimeSpan.FromSeconds(10));
            do
            {
                try
                {
                    await meters.RefreshAsync(stoppingToken);
                }
                catch (FarmException exception) when (exception.IsTransient)
                {
                    // the next round may reach the queue again; until then the instruments show what was known
                }
            }
            while (await timer.WaitForNextTickAsync(stoppingToken));
        }
    }
}
