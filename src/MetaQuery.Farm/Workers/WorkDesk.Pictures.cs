namespace MetaQuery.Farm;

/// <content>Pictures of prompts that this process cannot get at, though another may.</content>
internal sealed partial class WorkDesk
{
    private long? _picturesAwaySince;
    private long? _restingSince;
    private bool _isTold;

    /// <summary>Pictures were read: those of other prompts can be had, too.</summary>
    public void PicturesCame()
    {
        lock (_gate)
        {
            (_picturesAwaySince, _isTold) = (null, false);
        }
    }

    /// <summary>Pictures could not be reached just now. Within the first lease's time their prompts wait here; after it, also those that come later are given back.</summary>
    /// <returns>Whether they are to be given back: no prompts are taken for a lease's time then.</returns>
    public bool MissPictures()
    {
        lock (_gate)
        {
            long now = _options.Clock.GetTimestamp();
            _picturesAwaySince ??= now;
            if (_options.Clock.GetElapsedTime(_picturesAwaySince.Value, now) < _options.LeaseTime)
            {
                return false;
            }

            if (!_isTold)
            {
                _options.Log.PicturesAway(_options.LeaseTime);
                _isTold = true;
            }

            _restingSince = now;
            Change(); // slots where turns are taken wait for no prompts
            return true;
        }
    }

    /// <summary>Takes again, once a lease's time is over, what it rests from.</summary>
    public void EndRest()
    {
        lock (_gate)
        {
            EndFailureRests();
            if (_restingSince is { } since && _options.Clock.GetElapsedTime(since) >= _options.LeaseTime)
            {
                _restingSince = null;
                Change();
            }
        }
    }
}
