using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <content>What comes back of a job's images, and where it goes.</content>
internal sealed partial class JobSession
{
    /// <summary>An image is made, and about to be committed: it counts as denoised from now on, as written once it is on disk.</summary>
    public void Reported(long position)
    {
        lock (_gate)
        {
            if (position < Plan.ImageCount && !_store.IsSettled(position))
            {
                _isDirty |= _reported.Add(position);
            }
        }
    }

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

            try
            {
                isNew = Stages.Time("write", () => _store.Add(sample));
            }
            catch (StorageException)
            {
                Sync(); // what went before it is written, and counts as that while this one waits
                throw;
            }
        }

        lock (_gate)
        {
            _coordinator.Done(sample.Position);
            _isDirty = true;
            if (isNew)
            {
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

            Sync();
        }
    }

    /// <summary>Every image is committed or given up, be shards unfinished.</summary>
    public bool IsSettled => _store.WrittenCount + _store.FailedCount == Plan.ImageCount;

    /// <summary>Whether <see cref="FinishShards"/> or the job's end has something to do and nobody is at it; who gets true does it and calls <see cref="EndFinishing"/>.</summary>
    public bool TryBeginFinishing()
    {
        if (_isEnded || Leaving.IsCancellationRequested || !(IsSettled || _store.HasFullShard) || !_finishing.Wait(0))
        {
            return false;
        }

        return true;
    }

    /// <summary>The job is to be let go: see <see cref="Leaving"/>.</summary>
    public void Leave() => _leaving.Cancel();

    /// <param name="isEnd">The job's end was told: there is nothing more to finish.</param>
    public void EndFinishing(bool isEnd)
    {
        _isEnded |= isEnd;
        _finishing.Release();
    }

    /// <returns>Records that were damaged since they were written: their images are to be made again, and wait for that from now on.</returns>
    /// <exception cref="StorageException">A shard could not be written; to be tried again.</exception>
    /// <exception cref="PromptFileException">The prompts of images to be made again cannot be read.</exception>
    public int FinishShards()
    {
        IReadOnlyList<long> damaged = [];
        Stages.Time("shard", () => damaged = _store.FinishShards());
        if (damaged.Count > 0)
        {
            IReadOnlyList<PlannedPrompt> again = PromptStream.Find(Plan, damaged.ToHashSet());
            lock (_gate)
            {
                foreach (AbandonedImage image in _coordinator.MakeAgain(again))
                {
                    _abandoned.Enqueue(image); // until Settle
                }

                _onDisk = (Math.Min(_onDisk.Written, _store.WrittenCount), Math.Min(_onDisk.Failed, _store.FailedCount));
                _isDirty = true;
            }

            return damaged.Count;
        }

        lock (_writing)
        {
            Sync();
        }

        return 0;
    }

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

    /// <summary>Samples of an unfinished shard, ascending; null where it is none (any more).</summary>
    public IReadOnlyList<long>? PositionsIn(long shard) => _store.PositionsIn(shard);

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

            Volatile.Write(ref _isClosed, true);
            _isEnded = true;
            _store.Dispose();
        }

        lock (_gate)
        {
            _prompts.Dispose();
        }

        _finishing.Release();
    }

    /// <summary>Syncs, and counts as written what is on disk by it. Under the lock for writing.</summary>
    private void Sync()
    {
        if (_isClosed)
        {
            return;
        }

        Stages.Time("sync", _store.Flush);
        lock (_gate)
        {
            _onDisk = (_store.WrittenCount, _store.FailedCount);
            _reported.RemoveWhere(_store.IsSettled);
            _isDirty = true;
        }
    }

    private AbandonedImage? PeekAbandoned()
    {
        lock (_gate)
        {
            return _abandoned.TryPeek(out AbandonedImage? image) ? image : null;
        }
    }
}
