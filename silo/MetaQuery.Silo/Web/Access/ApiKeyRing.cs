using System.Security.Cryptography;
using System.Text;
using MetaQuery.Farm;

namespace MetaQuery.Silo.Web;

/// <summary>The keys of a running server: follows keys.json, so that adding and revoking need no restart.</summary>
public sealed class ApiKeyRing : ITenantDirectory
{
    private static readonly TimeSpan BetweenLooks = TimeSpan.FromSeconds(1);

    private readonly ApiKeyFile? _file;
    private readonly TimeProvider _time;
    private readonly Lock _looking = new();
    private long _looked;
    private State _state;
    private string? _complaint;

    /// <param name="file">Null for a server without keys.</param>
    /// <exception cref="ApiKeyException">The file is damaged.</exception>
    public ApiKeyRing(ApiKeyFile? file, TimeProvider? time = null)
    {
        (_file, _time) = (file, time ?? TimeProvider.System);
        _state = State.Of(file, wereRequired: false);
        _looked = _time.GetTimestamp();
    }

    /// <summary>Told, once for each change of the file, why keys.json could not be followed: the keys stay as they were.</summary>
    public event EventHandler<string>? Unreadable;

    /// <summary>Whether everybody has to show a key: from the first key on, and also when all have been revoked or the file is gone.</summary>
    public bool AreRequired => Look().AreRequired;

    /// <summary>Whether anybody could show one.</summary>
    public bool HasGoodKey => Look().Keys.Count > 0;

    public TenantRules RulesOf(string tenant) => Look().Rules.GetValueOrDefault(tenant, TenantRules.Default);

    /// <summary>The good key whose text this is. Takes the same time for any text: every key is compared, each in constant time.</summary>
    internal ApiKey? Find(string text)
    {
        byte[] hash = Encoding.ASCII.GetBytes(ApiKey.HashText(text));
        ApiKey? found = null;
        foreach ((byte[] known, ApiKey key) in Look().Keys)
        {
            if (CryptographicOperations.FixedTimeEquals(hash, known))
            {
                found = key;
            }
        }

        return found;
    }

    private State Look()
    {
        if (_file is not null && _time.GetElapsedTime(Volatile.Read(ref _looked)) >= BetweenLooks && _looking.TryEnter())
        {
            try
            {
                Volatile.Write(ref _looked, _time.GetTimestamp());
                if (_file.Stamp() != _state.Stamp)
                {
                    Volatile.Write(ref _state, State.Of(_file, _state.AreRequired));
                    _complaint = null;
                }
            }
            catch (Exception exception) when (exception is ApiKeyException or IOException or UnauthorizedAccessException)
            {
                // whoever damaged the file must not open the farm; it is looked at again each second
                if (_state is { AreRequired: false })
                {
                    Volatile.Write(ref _state, _state with { AreRequired = true });
                }

                if (_complaint != exception.Message)
                {
                    _complaint = exception.Message;
                    Unreadable?.Invoke(this, exception.Message);
                }
            }
            finally
            {
                _looking.Exit();
            }
        }

        return Volatile.Read(ref _state);
    }

    private sealed record State((DateTime, long) Stamp, bool AreRequired, IReadOnlyList<(byte[] Hash, ApiKey Key)> Keys, IReadOnlyDictionary<string, TenantRules> Rules)
    {
        public static State Of(ApiKeyFile? file, bool wereRequired)
        {
            if (file is null)
            {
                return new State(default, false, [], new Dictionary<string, TenantRules>());
            }

            (DateTime, long) stamp = file.Stamp(); // before reading: a change in between is read again at the next look
            ApiKey[] all = [.. file.Read()];
            ApiKey[] good = [.. all.Where(key => key.RevokedAt is null)];

            // a tenant's newest good key states its rules
            var rules = good.GroupBy(key => key.Tenant).ToDictionary(
                group => group.Key,
                group => group.MaxBy(key => key.CreatedAt) is { } key ? new TenantRules(key.Weight, key.MaxQueuedImages, key.ImagesPerDay) : TenantRules.Default);
            return new State(stamp, wereRequired || all.Length > 0, [.. good.Select(key => (Encoding.ASCII.GetBytes(key.Sha256), key))], rules);
        }
    }
}
