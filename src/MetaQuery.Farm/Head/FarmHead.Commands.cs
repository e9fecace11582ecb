namespace MetaQuery.Farm;

/// <content>What is asked of jobs.</content>
public sealed partial class FarmHead
{
    public async Task<JobView> ApplyAsync(JobReference job, JobCommand command, CancellationToken cancellationToken)
    {
        JobRecord before;
        JobRecord? after;
        lock (_turning)
        {
            before = Require(job);
            JobState? state = JobLifecycle.After(before.State, command);
            after = state is null ? null : Stamp(before, before with
            {
                State = state.Value,
                Counts = CountsOf(before),
                Reason = state == before.State ? before.Reason : command == JobCommand.Cancel ? "cancelled" : null,
                RetriesFailed = before.RetriesFailed || command == JobCommand.RetryFailed,
            });
            if (after is not null && after != before)
            {
                _board.PutFirmly(after);
                Note(before, after);
                if (!JobLifecycle.IsFed(after.State) && _dispatcher.Find(after.Id) is { } open)
                {
                    _dispatcher.StopFeeding(open);
                }
            }
        }

        JobView view = ViewOf(after ?? before);
        if (after is null)
        {
            await ForgetAsync(before, "as asked").ConfigureAwait(false);
        }
        else if (after.State != before.State)
        {
            if (before.IsFinal && _events.TryGetValue(before.Id, out EventStream? stream))
            {
                stream.Reopen();
            }

            Tell(after);
            if (_dispatcher.Find(before.Id) is { } session && !JobLifecycle.IsFed(after.State) && JobLifecycle.IsFed(before.State) | after.IsFinal)
            {
                await WithdrawAsync(session, CancellationToken.None).ConfigureAwait(false); // written down: it is carried out though the asker may be gone
                if (after.IsFinal)
                {
                    Close(session);
                }
            }

            Wake();
        }

        return view;
    }
}
