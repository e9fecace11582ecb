using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <content>What comes back of a job's images, and where it goes.</content>
internal sealed partial class JobSession
{
    /// <summary>Commits a sample; a second one for the same place changes nothing.</summary>
    /// <returns>Whether it was new.</returns>
    /// <exception cref="StorageException">It could not be written; to be tried again.</exception>
    public bool Commit(FinishedSample sample)
    {
        bool isNew;
        lock (_writing)
        {
            if (_isClosed)
            {
                return false;
            }

            isNew = Stages.Time("write", () => _store.Add(sample));
        }

        lock (_gate)
        {
            _coordinator.Done(sample.Position);
            _isDirty = true;
            if (isNew)
            {
                _denoised++;
                _rate.Add(1);
                _breaker.Succeeded();
                if (_news.Count == MostNews)
                {
                    _news.RemoveAt(0);
                }

                _news.Add(sample.Position);
            }
        }

        return isNew;
    }

    /// <summary>Gives an image up; <see cref="Settle"/> writes it down.</summary>
    public void Abandon(DenoiseItem item, string reason)
    {
        lock (_gate)
        {
            _abandoned.Enqueue(new AbandonedImage(item.Position, item.Prompt, item.SampleIndex, reason));
            Hopeless ??= _breaker.Failed(reason);
        }
    }

    /// <summary>A condition cannot be made: gives up the images that wait for it.</summary>
    /// <returns>Whether there were any.</returns>
    public bool EncodeFailed(ConditionKey key, string reason)
    {
        lock (_gate)
        {
            IReadOnlyList<AbandonedImage> abandoned = _coordinator.EncodeFailed(key, reason);
            foreach (AbandonedImage image in abandoned)
            {
                _abandoned.Enqueue(image);
            }

            if (abandoned.Count > 0)
            {
                Hopeless ??= _breaker.Failed(reason); // one condition is one failure, however many images wait for it
            }

            return abandoned.Count > 0;
        }
    }

    /// <summary>Writes down what was given up, and makes all that was committed last.</summary>
    /// <param name="onFailure">Called for each image given up.</param>
    /// <exception cref="StorageException">It could not be written; to be tried again.</exception>
    public void Settle(Action onFailure)
    {
        lock (_writing)
        {
            while (!_isClosed && PeekAbandoned() is { } image)
            {
                if (_store.Fail(image.Position, new FailedSample(
                    Plan.Layout.Key(image.Position), image.Prompt.Index, image.SampleIndex, image.Prompt.Prompt, image.Reason)))
                {
                    onFailure();
                }

                lock (_gate)
                {
                    _abandoned.Dequeue();
                    _coordinator.Done(image.Position);
                    _isDirty = true;
                }
            }

            if (!_isClosed)
            {
                Stages.Time("sync", _store.Flush);
            }
        }
    }

    /// <summary>Every image is committed or given up, be shards unfinished.</summary>
    public bool IsSettled => _store.WrittenCount + _store.FailedCount == Plan.ImageCount;

    /// <summary>Whether <see cref="FinishShards"/> or the job's end has something to do and nobody is at it; who gets true does it and calls <see cref="EndFinishing"/>.</summary>
    public bool TryBeginFinishing()
    {
        if (_isEnded || !(IsSettled || _store.HasFullShard) || !_finishing.Wait(0))
        {
            return false;
        }

        return true;
    }

    /// <param name="isEnd">The job's end was told: there is nothing more to finish.</param>
    public void EndFinishing(bool isEnd)
    {
        _isEnded |= isEnd;
        _finishing.Release();
    }

    /// <exception cref="StorageException">A shard could not be written; to be tried again.</exception>
    public void FinishShards() => Stages.Time("shard", _store.FinishShards);

    /// <summary>After the last shard: contact sheet, and away with what only an unfinished job needs.</summary>
    /// <returns>The sheet's path, or null where there is no picture to show.</returns>
    /// <exception cref="StorageException">It could not be written; to be tried again.</exception>
    public string? DrawSheet() => _store.DrawSheet();

    /// <summary>Writes <c>_stats.json</c>.</summary>
    /// <exception cref="StorageException">It could not be written; to be tried again.</exception>
    public void WriteStats(JobState state, JobProgress progress, JobStats stats, int slots) => _store.WriteStats(state, progress, stats, slots);

    /// <summary>The job is done: away with what only an unfinished one needs.</summary>
    public void RemoveWork() => _store.RemoveWork();

    public IReadOnlyList<FailedSample> ListFailures(int most) => _store.ListFailures(most);

    /// <summary>Shards with samples that are not finished yet, ascending.</summary>
    public IReadOnlyList<long> OpenShards() => _store.OpenShards();

    /// <summary>Samples of an unfinished shard, ascending.</summary>
    public IReadOnlyList<long> PositionsIn(long shard) => _store.PositionsIn(shard);

    /// <summary>A committed sample of an unfinished shard; null where it is not (or no more) in one.</summary>
    public FinishedSample? TryRead(long position) => _store.TryRead(position);

    /// <summary>Lets the folder go, once nobody is finishing a shard; what comes later changes nothing.</summary>
    public void Dispose()
    {
        _finishing.Wait();
        lock (_writing)
        {
            if (_isClosed)
            {
                _finishing.Release();
                return;
            }

            _isClosed = true;
            _isEnded = true;
            _store.Dispose();
        }

        lock (_gate)
        {
            _prompts.Dispose();
        }

        _finishing.Release();
    }

    private AbandonedImage? PeekAbandoned()
    {
        lock (_gate)
        {
            return _abandoned.TryPeek(out AbandonedImage? image) ? image : null;
        }
    }
}
