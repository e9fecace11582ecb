using System.Collections.Concurrent;
using System.Net;
using System.Text;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace MetaQuery.Cli.Tests;

/// <summary>Takes what is sent to it by OTLP, over HTTP and over gRPC, and remembers it. Payloads stay protobuf's bytes: names in them are UTF-8.</summary>
internal sealed class Collector : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentBag<(string Path, byte[] Body)> _received;

    private Collector(WebApplication app, ConcurrentBag<(string Path, byte[] Body)> received) => (_app, _received) = (app, received);

    public string HttpUrl => Address(0);

    public string GrpcUrl => Address(1);

    public static async Task<Collector> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.Listen(IPAddress.Loopback, 0, endpoint => endpoint.Protocols = HttpProtocols.Http1);
            kestrel.Listen(IPAddress.Loopback, 0, endpoint => endpoint.Protocols = HttpProtocols.Http2);
        });
        builder.Services.AddGrpc();
        var received = new ConcurrentBag<(string Path, byte[] Body)>();
        builder.Services.AddSingleton(received);
        var app = builder.Build();
        app.MapGrpcService<MetricsService>();
        app.MapGrpcService<TraceService>();
        app.MapPost("/v1/{signal}", async (HttpContext call) =>
        {
            using var body = new MemoryStream();
            await call.Request.Body.CopyToAsync(body);
            received.Add((call.Request.Path, body.ToArray()));
        });
        await app.StartAsync();
        return new Collector(app, received);
    }

    /// <summary>Whether something whose bytes hold a text has come this way.</summary>
    public bool Has(string path, string text) => _received.Any(one => one.Path == path && one.Body.AsSpan().IndexOf(Encoding.UTF8.GetBytes(text)) >= 0);

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private string Address(int endpoint) => _app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.ElementAt(endpoint);

    // as opentelemetry-proto's services are named; their answers have no fields that must be there
    private static void Bind(ServiceBinderBase binder, string service, UnaryServerMethod<byte[], byte[]> export)
    {
        var bytes = Marshallers.Create<byte[]>(value => value, value => value);
        binder.AddMethod(new Method<byte[], byte[]>(MethodType.Unary, service, "Export", bytes, bytes), export);
    }

    [BindServiceMethod(typeof(MetricsService), nameof(BindService))]
    internal class MetricsService(ConcurrentBag<(string Path, byte[] Body)> received)
    {
        public static void BindService(ServiceBinderBase binder, MetricsService service) =>
            Bind(binder, "opentelemetry.proto.collector.metrics.v1.MetricsService", (request, context) => service.Export(request, context));

        public virtual Task<byte[]> Export(byte[] request, ServerCallContext context)
        {
            received.Add((context.Method, request));
            return Task.FromResult(Array.Empty<byte>());
        }
    }

    [BindServiceMethod(typeof(TraceService), nameof(BindService))]
    internal class TraceService(ConcurrentBag<(string Path, byte[] Body)> received)
    {
        public static void BindService(ServiceBinderBase binder, TraceService service) =>
            Bind(binder, "opentelemetry.proto.collector.trace.v1.TraceService", (request, context) => service.Export(request, context));

        public virtual Task<byte[]> Export(byte[] request, ServerCallContext context)
        {
            received.Add((context.Method, request));
            return Task.FromResult(Array.Empty<byte>());
        }
    }
}
