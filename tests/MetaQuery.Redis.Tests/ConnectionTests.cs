using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using MetaQuery.Farm;
using MetaQuery.TestKit;

namespace MetaQuery.Redis.Tests;

public sealed class ConnectionTests
{
    [Theory]
    [InlineData("127.0.0.1:6380", "127.0.0.1", 6380)]
    [InlineData("redis.example", "redis.example", 6379)]
    [InlineData("[::1]:7000", "::1", 7000)]
    public void An_address_is_a_host_and_a_port(string text, string host, int port)
    {
        var options = RedisOptions.Parse(text);
        Assert.Equal((host, port), (options.Host, options.Port));
    }

    [Theory]
    [InlineData("")]
    [InlineData("host:0")]
    [InlineData("host:65536")]
    [InlineData("host:port")]
    [InlineData("redis://host:6379")]
    [InlineData("host:6379,password=x")]
    [InlineData("::1:6379")]
    public void Anything_else_is_refused_with_an_example(string text) =>
        Assert.Contains("127.0.0.1:6379", Assert.Throws<RedisOptionsException>(() => RedisOptions.Parse(text)).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("a b")]
    [InlineData("a:b")]
    [InlineData("{a}")]
    [InlineData("")]
    public async Task A_namespace_that_would_break_a_keys_name_is_refused(string name) =>
        await Assert.ThrowsAsync<RedisOptionsException>(() => RedisConnection.ConnectAsync(RedisOptions.Parse("127.0.0.1") with { Namespace = name }, default));

    [Fact]
    public async Task A_server_that_is_not_there_is_named_in_one_line()
    {
        int port = RealRedis.FreePort();
        var error = await Assert.ThrowsAsync<WorkQueueException>(() => RedisConnection.ConnectAsync(Quick($"127.0.0.1:{port}") with { ConnectPatience = TimeSpan.FromSeconds(0.2), CommandTimeout = TimeSpan.FromSeconds(1) }, default));
        Assert.StartsWith($"redis at 127.0.0.1:{port} ", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', error.Message);
        Assert.Equal(ExitCodes.Unreachable, error.ExitCode);
    }

    [Fact]
    public async Task A_server_that_starts_a_little_later_is_waited_for()
    {
        int port = RealRedis.FreePort();
        Task<RedisConnection> connecting = RedisConnection.ConnectAsync(Quick($"127.0.0.1:{port}"), default);
        await Task.Delay(300);
        using var redis = RealRedis.With(port: port);
        await using RedisConnection connection = await connecting;
        Assert.True(connection.IsConnected);
    }

    [Fact]
    public async Task A_password_is_asked_for_checked_and_never_shown()
    {
        const string Password = "correct horse";
        using var redis = RealRedis.With(password: Password);
        RedisOptions options = Quick(redis.Address);
        var missing = await Assert.ThrowsAsync<RedisRefusedException>(() => RedisConnection.ConnectAsync(options with { Password = null }, default));
        Assert.Contains(RedisOptions.PasswordVariable, missing.Message, StringComparison.Ordinal);
        var wrong = await Assert.ThrowsAsync<RedisRefusedException>(() => RedisConnection.ConnectAsync(options with { Password = "wrong battery" }, default));
        Assert.Contains("user or password is wrong", wrong.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("battery", wrong.ToString(), StringComparison.Ordinal);
        Assert.False(wrong.IsTransient);
        await using RedisConnection connection = await RedisConnection.ConnectAsync(options with { Password = Password }, default);
        Assert.True(connection.IsConnected);
    }

    [Fact]
    public async Task A_user_of_its_own_needs_only_the_farms_keys_and_channels()
    {
        using var redis = new RealRedis();
        redis.Command("ACL", "SETUSER", "farm", "on", ">secret", "~mq:*", "&mq:*", "+@all", "-@dangerous", "+info");
        RedisOptions options = Quick(redis.Address) with { User = "farm", Password = "secret", Namespace = "acl" };
        await using RedisConnection connection = await RedisConnection.ConnectAsync(options, default);
        string folder = Directory.CreateTempSubdirectory("metaquery-acl-").FullName;
        var queueOptions = new RedisQueueOptions { InboxFolder = folder };
        await using RedisWorkFeed head = await RedisWorkFeed.OpenAsync(connection, queueOptions);
        await using RedisWorkQueue worker = await RedisWorkQueue.OpenAsync(connection, queueOptions);
        await head.FeedAsync(TestFarm.Lane, TestFarm.Denoises(2), default);
        IReadOnlyList<Lease> leases = await worker.LeaseAsync(TestFarm.Request("w"), default);
        await worker.ReportAsync("w", [.. leases.Select(TestFarm.Finish)], default);
        Assert.Equal(2, (await head.ReceiveAsync(10, TimeSpan.FromSeconds(10), default)).Count);
        new RedisConditionTier(connection).Write(TestFarm.Encode("a").Key, [1, 2]);
        Assert.Empty(await new RedisWorkerRegistry(connection, TimeSpan.FromSeconds(30)).ListAsync(default));
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_server_that_would_throw_keys_away_when_full_is_refused()
    {
        using var redis = RealRedis.With(["--maxmemory-policy", "allkeys-lru"]);
        await using RedisConnection connection = await RedisConnection.ConnectAsync(Quick(redis.Address), default);
        var error = await Assert.ThrowsAsync<RedisRefusedException>(
            () => RedisWorkFeed.OpenAsync(connection, new RedisQueueOptions { InboxFolder = Path.GetTempPath() }));
        Assert.Contains("allkeys-lru", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Over_tls_the_servers_certificate_must_be_of_the_authority_that_was_named()
    {
        string folder = Directory.CreateTempSubdirectory("metaquery-tls-").FullName;
        try
        {
            string authority = Certificate(folder, "authority", issuer: null);
            Certificate(folder, "server", authority);
            string other = Certificate(folder, "other", issuer: null);
            int port = RealRedis.FreePort();
            using var redis = RealRedis.With(
            [
                "--tls-port", $"{port}", "--tls-cert-file", Path.Combine(folder, "server.crt"), "--tls-key-file", Path.Combine(folder, "server.key"),
                "--tls-ca-cert-file", authority, "--tls-auth-clients", "no",
            ]);
            RedisOptions options = Quick($"127.0.0.1:{port}") with { UseTls = true };
            await using (RedisConnection connection = await RedisConnection.ConnectAsync(options with { AuthorityFile = authority }, default))
            {
                Assert.True(connection.IsConnected);
            }

            var wrong = await Assert.ThrowsAsync<RedisRefusedException>(() => RedisConnection.ConnectAsync(options with { AuthorityFile = other }, default));
            Assert.Contains("certificate", wrong.Message, StringComparison.Ordinal);
            await Assert.ThrowsAsync<RedisRefusedException>(() => RedisConnection.ConnectAsync(options, default));
            await Assert.ThrowsAsync<WorkQueueException>(() => RedisConnection.ConnectAsync(options with { UseTls = false, ConnectPatience = TimeSpan.FromSeconds(0.2), CommandTimeout = TimeSpan.FromSeconds(1) }, default));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static RedisOptions Quick(string address) => RedisOptions.Parse(address) with
    {
        ConnectPatience = TimeSpan.FromSeconds(60), // a refusal ends it at once
        CommandTimeout = TimeSpan.FromSeconds(10), // so long may a handshake take on a busy machine
    };

    /// <summary>A certificate and its key as PEM files; returns the certificate's path.</summary>
    private static string Certificate(string folder, string name, string? issuer)
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(issuer is null, hasPathLengthConstraint: false, 0, critical: true));
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        DateTimeOffset from = DateTimeOffset.UtcNow.AddDays(-1);
        X509Certificate2 certificate;
        if (issuer is null)
        {
            certificate = request.CreateSelfSigned(from, from.AddDays(3));
        }
        else
        {
            using var authority = X509Certificate2.CreateFromPemFile(issuer, Path.ChangeExtension(issuer, ".key"));
            certificate = request.Create(authority, from, from.AddDays(2), RandomNumberGenerator.GetBytes(8));
        }

        using (certificate)
        {
            string path = Path.Combine(folder, name + ".crt");
            File.WriteAllText(path, certificate.ExportCertificatePem());
            File.WriteAllText(Path.ChangeExtension(path, ".key"), key.ExportPkcs8PrivateKeyPem());
            return path;
        }
    }
}
