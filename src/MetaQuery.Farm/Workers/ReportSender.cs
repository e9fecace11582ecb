using System.Threading.Channels;

namespace MetaQuery.Farm;

/// <summary>Sends what came of items to the queue: as many reports in a call as have gathered, and again until they are taken or refused.</summary>
internal sealed class ReportSender(IWorkQueue queue, string worker, WorkDesk desk, WorkerTally tally, WorkerOptions options)
{
    private const int MostAtOnce = 256;

    private readonly Channel<(HeldItem Item, WorkOutcome Outcome)> _outcomes =
        Channel.CreateUnbounded<(HeldItem, WorkOutcome)>(new UnboundedChannelOptions { SingleReader = true });

    private volatile string? _trouble;

    /// <summary>Why what was made is not handed on just now, in one line; null where it is.</summary>
    public string? Trouble => _trouble;

    /// <summary>Hands over an item's outcome; the item stays held until it is sent. What comes after its first outcome is dropped.</summary>
    public void Send(HeldItem item, WorkOutcome outcome)
    {
        if (item.TrySettle() && !_outcomes.Writer.TryWrite((item, outcome)))
        {
            throw new InvalidOperationException($"{item.Item.Id} has an outcome after the last one");
        }
    }

    /// <summary>No outcome comes any more.</summary>
    public void Complete() => _outcomes.Writer.TryComplete();

    /// <param name="giveUp">Ends it where the queue cannot be reached.</param>
    public async Task RunAsync(CancellationToken giveUp)
    {
        var batch = new List<(HeldItem Item, WorkOutcome Outcome)>();
        while (await _outcomes.Reader.WaitToReadAsync(CancellationToken.None))
        {
            while (batch.Count < MostAtOnce && _outcomes.Reader.TryRead(out (HeldItem Item, WorkOutcome Outcome) next))
            {
                batch.Add(next);
            }

            await SendAsync(batch, giveUp);
            batch.Clear();
        }
    }

    private async Task SendAsync(List<(HeldItem Item, WorkOutcome Outcome)> batch, CancellationToken giveUp)
    {
        Backoff backoff = Outage.Backoff(options);
        while (true)
        {
            batch.RemoveAll(static entry => entry.Item.IsGone);
            if (batch.Count == 0)
            {
                return;
            }

            try
            {
                IReadOnlyList<bool> taken = await queue.ReportAsync(worker, [.. batch.Select(entry => new WorkReport(entry.Item.Lease, entry.Outcome))], giveUp);
                int refused = taken.Count(static isTaken => !isTaken);
                tally.Change(counts => counts with { RefusedReports = counts.RefusedReports + refused });
                _trouble = null;
                break;
            }
            catch (Exception exception) when (Outage.IsOne(exception, options))
            {
                _trouble = $"what it made cannot be handed on: {Outage.OneLine(exception)}";
                await backoff.WaitAsync(giveUp);
            }
        }

        batch.ForEach(entry => desk.Close(entry.Item));
    }
}
