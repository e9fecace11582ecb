using System.Globalization;
using MetaQuery.Chaos;
using MetaQuery.Client;
using MetaQuery.TestKit;

namespace MetaQuery.Orleans.Tests.Doubles;

/// <summary><c>./farm silo</c> in a process of its own, with the Nano model.</summary>
internal sealed class SiloProcess : IDisposable
{
    private readonly int _siloPort = RealRedis.FreePort();

    public SiloProcess(string name, RealRedis? redis, string dataFolder, string logFolder, string roles = "head,mllm,dit", params string[] more)
    {
        string url = $"http://127.0.0.1:{RealRedis.FreePort()}";
        string[] clustering = redis is null ? ["--clustering", "localhost"] : ["--clustering", "redis", "--redis", redis.Address];
        Process = new ChildProcess(
            name,
            [
                "silo", .. clustering, "--roles", roles, "--slots", "1", "--threads", "1", "--data", dataFolder, "--urls", url, "--model", "nano",
                "--silo-port", _siloPort.ToString(CultureInfo.InvariantCulture), "--gateway-port", RealRedis.FreePort().ToString(CultureInfo.InvariantCulture), .. more,
            ],
            Path.Combine(logFolder, name.Replace(' ', '-') + ".log"), new Dictionary<string, string>());
        Client = new FarmClient(new Uri(url), key: null);
    }

    public ChildProcess Process { get; }

    /// <summary>Of its web API.</summary>
    public FarmClient Client { get; }

    /// <summary>Whether a silo's id is that of this process, in whatever life.</summary>
    public bool IsNamed(string silo) => silo.StartsWith(string.Create(CultureInfo.InvariantCulture, $"127.0.0.1:{_siloPort}@"), StringComparison.Ordinal);

    public void Dispose()
    {
        Client.Dispose();
        Process.Dispose();
    }
}
