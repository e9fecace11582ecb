using System.Collections.Concurrent;
using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>What follows a batch, off the slots' threads: pictures become files, conditions go to their tiers; then they are reported.</summary>
internal sealed class ResultFinisher : IDisposable
{
    private const int MostThreads = 4;

    private readonly BlockingCollection<Action> _work;
    private readonly SampleMaker _maker;
    private readonly ReportSender _reports;
    private readonly WorkerTally _tally;
    private readonly WorkerOptions _options;
    private readonly CancellationToken _giveUp;

    public ResultFinisher(SampleMaker maker, ReportSender reports, WorkerTally tally, WorkerOptions options, CancellationToken giveUp)
    {
        (_maker, _reports, _tally, _options, _giveUp) = (maker, reports, tally, options, giveUp);
        _work = new BlockingCollection<Action>(boundedCapacity: 2 * options.Slots);
    }

    /// <summary>The threads' bodies.</summary>
    public IEnumerable<Action> Bodies => Enumerable.Repeat<Action>(Run, Math.Min(_options.Slots, MostThreads));

    /// <summary>Takes over pictures; waits where too many batches are not finished.</summary>
    /// <exception cref="OperationCanceledException">Nothing is finished any more.</exception>
    public void Add(IReadOnlyList<HeldItem> rows, IReadOnlyList<RgbImage> pictures) => _work.Add(() =>
    {
        for (int i = 0; i < rows.Count; i++)
        {
            if (!rows[i].IsGone)
            {
                _reports.Send(rows[i], Finish((DenoiseItem)rows[i].Item, pictures[i]));
            }
        }
    }, _giveUp);

    /// <summary>Takes over conditions; waits where too many batches are not finished.</summary>
    /// <exception cref="OperationCanceledException">Nothing is finished any more.</exception>
    public void Add(IReadOnlyList<HeldItem> rows, ConditionFlights flights, IReadOnlyList<byte[]> made) => _work.Add(() =>
    {
        using ConditionFlights landing = flights;
        Backoff backoff = Outage.Backoff(_options);
        while (!TryLand(landing, made))
        {
            if (_giveUp.WaitHandle.WaitOne(backoff.Next()))
            {
                return;
            }
        }

        foreach (HeldItem row in rows)
        {
            _reports.Send(row, new EncodedOutcome(WasMade: true));
        }
    }, _giveUp);

    /// <summary>No batch comes any more.</summary>
    public void Complete() => _work.CompleteAdding();

    public void Dispose() => _work.Dispose();

    private void Run()
    {
        foreach (Action finish in _work.GetConsumingEnumerable())
        {
            finish();
        }
    }

    private WorkOutcome Finish(DenoiseItem item, RgbImage picture)
    {
        try
        {
            (byte[] image, byte[] caption, byte[] json) = _tally.Stages.Time("image", () => _maker.Make(item, picture));
            return new DenoisedOutcome(new FinishedSample(item.Position, image, caption, json));
        }
#pragma warning disable CA1031 // whatever the encoder's error is, it is counted against its picture and listed with its reason
        catch (Exception exception)
#pragma warning restore CA1031
        {
            return new FailedOutcome(Outage.OneLine(exception), BatchRows: 1);
        }
    }

    private bool TryLand(ConditionFlights flights, IReadOnlyList<byte[]> made)
    {
        try
        {
            flights.Land(made);
            return true;
        }
        catch (Exception exception) when (Outage.IsOne(exception, _options))
        {
            return false;
        }
    }
}
