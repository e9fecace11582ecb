using Microsoft.Extensions.Logging;

namespace MetaQuery.Farm;

/// <summary>What keeps a dispatcher's work from going on just now, and the log's word when that begins and ends. Thread-safe.</summary>
internal sealed class Troubles(ILogger log)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, string> _queue = new(StringComparer.Ordinal);
    private string? _disk;
    private int _waiting;

    /// <summary>In one line; null where nothing does.</summary>
    public string? Now
    {
        get
        {
            lock (_gate)
            {
                return _disk ?? _queue.Values.FirstOrDefault();
            }
        }
    }

    /// <summary>Whether somebody waits for the disk.</summary>
    public bool IsDiskAway
    {
        get
        {
            lock (_gate)
            {
                return _disk is not null;
            }
        }
    }

    /// <summary>The disk refused somebody.</summary>
    /// <param name="reason">One line.</param>
    /// <param name="isFirst">That it was not waiting yet: to be ended by <see cref="DiskDone"/>.</param>
    public void DiskRefused(string reason, bool isFirst)
    {
        lock (_gate)
        {
            _waiting += isFirst ? 1 : 0;
            if (_disk is null)
            {
                log.DiskRefuses(reason);
            }

            _disk = reason;
        }
    }

    /// <summary>Somebody waits no more: what one can write says nothing of what another still waits to write.</summary>
    public void DiskDone()
    {
        lock (_gate)
        {
            if (--_waiting == 0)
            {
                _disk = null;
                log.DiskTakesAgain();
            }
        }
    }

    /// <summary>A loop's last call to the queue.</summary>
    /// <param name="loop">Which.</param>
    /// <param name="trouble">What it met; null for none.</param>
    public void Queue(string loop, string? trouble)
    {
        lock (_gate)
        {
            bool wasAway = _queue.Count > 0;
            if (trouble is null)
            {
                _queue.Remove(loop);
            }
            else
            {
                _queue[loop] = trouble;
            }

            if (!wasAway && trouble is not null)
            {
                log.QueueAway(trouble);
            }
            else if (wasAway && _queue.Count == 0)
            {
                log.QueueBack();
            }
        }
    }
}
