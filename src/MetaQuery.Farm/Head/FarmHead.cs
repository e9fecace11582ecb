using System.Collections.Concurrent;
using System.Security.Cryptography;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <summary>The farm's head: takes jobs, keeps them through its own death, feeds the queue, commits what workers make.</summary>
/// <remarks>One head per data folder and per queue. The same class in one process with its workers and over Redis; docs/farm.md tells how a job flows through it.</remarks>
public sealed partial class FarmHead : IFarm, IDispatcherHost, IAsyncDisposable
{
    private readonly HeadOptions _options;
    private readonly TimeProvider _clock;
    private readonly ModelDescription _model;
    private readonly IWorkFeed _feed;
    private readonly IWorkerRegistry _workers;
    private readonly DataFolder _folder;
    private readonly JobBoard _board;
    private readonly Dispatcher _dispatcher;
    private readonly string _epoch = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(4));
    private readonly ConcurrentDictionary<string, EventStream> _events = new(StringComparer.Ordinal);
    private readonly Lock _turning = new(); // every change of a job's record
    private readonly CancellationTokenSource _stop = new();
    private readonly SemaphoreSlim _wake = new(0, 1);
    private readonly List<Task> _loops = [];
    private readonly PictureShelf _pictures;
    private volatile string? _startTrouble;
    private volatile string? _roundTrouble;
    private bool _isDisposed;

    private FarmHead(ModelDescription model, IWorkFeed feed, IWorkerRegistry workers, HeadOptions options, DataFolder folder, JobBoard board)
    {
        _model = model;
        _feed = feed;
        _workers = workers;
        _options = options;
        _clock = options.Clock;
        _folder = folder;
        _board = board;
        _pictures = new PictureShelf(new PictureFolder(folder.PicturesPath));
        _dispatcher = new Dispatcher(feed, workers, this, board.Ledger, options);
    }

    public ImageModelInfo Model => _model.Images;

    public bool ReadsPictures => _model.PictureRefusal is not null;

    public FarmReadiness Readiness
    {
        get
        {
            if (Broken.IsCompleted)
            {
                return new FarmReadiness(false, $"the head has met an error of its own and must be started again: {Broken.Result.Message.ReplaceLineEndings(" ")}");
            }

            if ((_startTrouble ?? _dispatcher.Trouble ?? _board.Trouble ?? _roundTrouble) is { } trouble)
            {
                return new FarmReadiness(false, trouble);
            }

            WorkRoles missing = RolesByLane().Values.Select(roles => WorkRoles.Both & ~roles).DefaultIfEmpty(WorkRoles.Both).Min();
            return missing switch
            {
                WorkRoles.None => new FarmReadiness(true, null),
                WorkRoles.Both => new FarmReadiness(false, $"no worker with model {_model.Images.ModelName} of revision {_model.Images.ModelRevision} is there"),
                _ => new FarmReadiness(false, $"no worker of role {(missing == WorkRoles.Mllm ? "mllm" : "dit")} with model {_model.Images.ModelName} of revision {_model.Images.ModelRevision} is there"),
            };
        }
    }

    /// <exception cref="HeadBrokenException">The head cannot go on.</exception>
    public void ThrowIfBroken()
    {
        if (Broken.IsCompleted)
        {
            throw new HeadBrokenException(Broken.Result);
        }
    }

    /// <summary>Takes the data folder, brings back its jobs and goes on with them.</summary>
    /// <param name="model">The model that jobs are for; weights are not needed here.</param>
    /// <param name="feed">The queue.</param>
    /// <param name="workers">Where workers are listed.</param>
    /// <param name="options">Folder, limits, times.</param>
    /// <param name="cancellationToken">Gives up while starting.</param>
    /// <exception cref="DataFolderInUseException">A running head holds the folder.</exception>
    /// <exception cref="StorageException">The folder cannot be read or written.</exception>
    /// <exception cref="JournalDamagedException">The journal lost what it had promised.</exception>
    /// <exception cref="WorkQueueException">The queue cannot be reached.</exception>
    public static Task<FarmHead> StartAsync(
        ModelDescription model, IWorkFeed feed, IWorkerRegistry workers, HeadOptions options, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(options);
        return StartAsync(model, feed, workers, options, DataFolder.Take(options.DataFolder), cancellationToken);
    }

    /// <summary>The same on a folder that is taken already, for a queue whose journal lies in it; the head gives the folder back.</summary>
    public static async Task<FarmHead> StartAsync(
        ModelDescription model, IWorkFeed feed, IWorkerRegistry workers, HeadOptions options, DataFolder folder, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(feed);
        ArgumentNullException.ThrowIfNull(workers);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(folder);
        JobBoard? board = null;
        FarmHead head;
        try
        {
            board = new JobBoard(folder.JournalPath);
            head = new FarmHead(model, feed, workers, options, folder, board);
        }
        catch
        {
            board?.Dispose();
            folder.Dispose();
            throw;
        }

        try
        {
            await head.BeginAsync(cancellationToken).ConfigureAwait(false);
            return head;
        }
        catch
        {
            await head.DisposeAsync().ConfigureAwait(false); // jobs that it opened hold their folders
            throw;
        }
    }

    /// <summary>Stops without ending any job: the next head on this folder goes on with them.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_isDisposed)
        {
            return;
        }

        _isDisposed = true;
        await _stop.CancelAsync().ConfigureAwait(false);
        await Task.WhenAll(_loops).ConfigureAwait(false);
        await _dispatcher.DisposeAsync().ConfigureAwait(false);
        await Task.WhenAll(_closing.Values).ConfigureAwait(false);
        foreach (JobRecord record in _board.List())
        {
            if (_dispatcher.Find(record.Id) is { } session)
            {
                session.Dispose();
            }

            if (_events.TryGetValue(record.Id, out EventStream? stream))
            {
                stream.End();
            }
        }

        _board.Dispose();
        _folder.Dispose();
        _stop.Dispose();
        _wake.Dispose();
    }

    private async Task BeginAsync(CancellationToken cancellationToken)
    {
        await _workers.RequireModelAsync(_model.Images.ModelRevision, _model.Conditions.ModelRevision, cancellationToken).ConfigureAwait(false);
        await _dispatcher.RecoverAsync(cancellationToken).ConfigureAwait(false);
        RemoveStrangers();
        _pictures.Count(_board.List().Select(record => _folder.JobPath(record.Id)));
        foreach (JobRecord record in _board.List().Where(record => !record.IsFinal))
        {
            Turn(record.Id, JobSignal.Restarted);
        }

        if (_board.CutBytes > 0)
        {
            _options.Log.JournalCut(_board.CutBytes);
        }

        _options.Log.HeadStarted(_board.List().Count, _board.List().Count(record => !record.IsFinal));
        OpenBegun();
        _loops.Add(Task.Run(() => GuardAsync(WorkAsync), CancellationToken.None));
        _loops.Add(Task.Run(() => GuardAsync(EventLoopAsync), CancellationToken.None));
    }

    /// <summary>Opens what had begun before any report is received: what workers finished meanwhile must find its job open. Where a full disk keeps a job from that, it is tried again later.</summary>
    private void OpenBegun()
    {
        _startTrouble = null;
        foreach (JobRecord record in _board.List().Where(record => !record.IsFinal && record.Lane is not null && _dispatcher.Find(record.Id) is null))
        {
            if (Open(record) is { } refusal)
            {
                _startTrouble = refusal.Message;
                return; // one disk has them all
            }
        }
    }

    private async Task WorkAsync()
    {
        while (_startTrouble is not null)
        {
            try
            {
                await Task.Delay(_options.LookEvery, _clock, _stop.Token).ConfigureAwait(false);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            await KeepTimesAsync(new Round()).ConfigureAwait(false); // what is deleted may be the room that is waited for
            OpenBegun();
        }

        _dispatcher.Start();
        await JobLoopAsync().ConfigureAwait(false);
    }

    private async Task GuardAsync(Func<Task> loop)
    {
        try
        {
            await loop().ConfigureAwait(false);
        }
#pragma warning disable CA1031 // handed to whoever hosts the head: its process should end by it
        catch (Exception exception)
#pragma warning restore CA1031
        {
            Break(exception);
        }
    }

    private void Break(Exception exception)
    {
        if (_broken.TrySetResult(exception))
        {
            _options.Log.HeadBroken(exception);
        }
    }

    /// <summary>Folders of jobs that were never promised: a submission that died before its record was written.</summary>
    private void RemoveStrangers()
    {
        foreach (string path in Directory.EnumerateDirectories(_folder.JobsPath))
        {
            if (_board.Find(Path.GetFileName(path)) is not null)
            {
                continue;
            }

            if (File.Exists(Path.Combine(path, "out", Manifest.FileName)))
            {
                SetAside(path); // a data set that the journal does not name: the journal was lost or cut, not the pictures
            }
            else
            {
                RemoveFolder(path);
            }
        }
    }

    private bool Serves(WorkerView worker) =>
        worker.Status.State != WorkerState.Drained
        && worker.Info.Images.ModelRevision == _model.Images.ModelRevision && worker.Info.Conditions.ModelRevision == _model.Conditions.ModelRevision;

    private void Wake()
    {
        try
        {
            if (_wake.CurrentCount == 0)
            {
                _wake.Release();
            }
        }
        catch (SemaphoreFullException)
        {
            // another thread was first
        }
    }
}
