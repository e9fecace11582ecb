using System.Security.Cryptography;
using System.Text;
using System.Threading.RateLimiting;
using MetaQuery.Farm;
using MetaQuery.Kernels;
using MetaQuery.Pipelines;

namespace MetaQuery.Silo;

/// <summary>The frozen language model as a server asks it: so many answers at a time, so many questions that wait, first come, first served.</summary>
public sealed class ChatService : IDisposable
{
    private readonly ConcurrencyLimiter _limiter;
    private readonly IDisposable? _owned;
    private readonly CountdownEvent _answers = new(1);

    /// <param name="model">Stays the caller's, and outlives this.</param>
    /// <param name="fingerprint">Of weights and numerics: equal ones give equal answers.</param>
    /// <param name="slots">Answers at a time.</param>
    /// <param name="mostWaiting">Questions that may wait.</param>
    /// <param name="owned">Goes with this.</param>
    public ChatService(ChatModel model, string fingerprint, int slots = 1, int mostWaiting = 64, IDisposable? owned = null)
    {
        ArgumentNullException.ThrowIfNull(model);
        (Model, Fingerprint, Slots, MostWaiting, _owned) = (model, fingerprint, slots, mostWaiting, owned);
        _limiter = new ConcurrencyLimiter(new ConcurrencyLimiterOptions { PermitLimit = slots, QueueLimit = mostWaiting, QueueProcessingOrder = QueueProcessingOrder.OldestFirst });
    }

    /// <summary>Over the half of a model that this process works with anyway; its weights are not loaded again.</summary>
    /// <param name="model">Stays the caller's, and outlives this.</param>
    /// <param name="slots">Answers at a time; 0 for none.</param>
    /// <returns>Null where it has no language model that answers, or none is asked for.</returns>
    public static ChatService? Over(IFarmModel model, int slots) => slots > 0 && model is LocalModel { Chat: { } chat } local
        ? new ChatService(chat, FingerprintOf(local.Description.Conditions.ModelRevision, local.Description.Conditions.Dtype), slots)
        : null;

    /// <summary>Loads the language model alone, for a process that otherwise computes nothing.</summary>
    /// <param name="path">A model folder, such as models/nano.</param>
    /// <param name="revision">Of what shapes its answers.</param>
    /// <param name="dtype">float32, bfloat16, or null for the faster on the device.</param>
    /// <param name="threads">Within one operator; set for the whole process.</param>
    /// <param name="slots">Answers at a time.</param>
    /// <param name="device"><c>cpu</c>, <c>cuda</c> or <c>cuda:1</c>.</param>
    /// <exception cref="Models.Checkpoints.CheckpointException">A part is missing, malformed, or does not fit the others.</exception>
    /// <exception cref="PipelineException">The checkpoint has no output head.</exception>
    /// <exception cref="JobSpecException">The dtype or the device is not known, or not there.</exception>
    public static ChatService Load(string path, string revision, string? dtype, int threads, int slots, string device = LocalModel.Cpu)
    {
        dtype ??= LocalModel.DefaultDtype(device);
        TorchRuntime.SetThreads(threads);
        ChatModel model = LocalModel.LoadChat(MetaQueryModelFolder.Open(path), dtype, device);
        try
        {
            using ChatSession session = model.NewSession(); // says now what every question would be told
            return new ChatService(model, FingerprintOf(revision, $"{dtype}/bfloat16"), slots, owned: model);
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    public ChatModel Model { get; }

    public string Fingerprint { get; }

    /// <summary>Answers at a time.</summary>
    public int Slots { get; }

    /// <summary>Questions that may wait besides.</summary>
    public int MostWaiting { get; }

    /// <summary>Waits for its turn.</summary>
    /// <returns>Held while the answer is made; null where too many wait already.</returns>
    /// <exception cref="OperationCanceledException">Who waited left.</exception>
    public async Task<IDisposable?> EnterAsync(CancellationToken cancellationToken)
    {
        RateLimitLease lease = await _limiter.AcquireAsync(1, cancellationToken);
        if (lease.IsAcquired && _answers.TryAddCount())
        {
            return new Turn(lease, _answers);
        }

        lease.Dispose();
        return null;
    }

    /// <summary>Waits for answers that are being made: they read weights that go next. Whoever asked them has been told to stop.</summary>
    public void Dispose()
    {
        _answers.Signal();
        _answers.Wait();
        _answers.Dispose();
        _limiter.Dispose();
        _owned?.Dispose();
    }

    private static string FingerprintOf(string revision, string dtype) =>
        "fp_" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{revision}\n{dtype}\n{TorchRuntime.Numerics}")))[..16];

    private sealed class Turn(RateLimitLease lease, CountdownEvent answers) : IDisposable
    {
        public void Dispose()
        {
            lease.Dispose();
            answers.Signal();
        }
    }
}
