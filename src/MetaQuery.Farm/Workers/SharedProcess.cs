namespace MetaQuery.Farm;

/// <summary>Worker hosts that share a process, such as a silo's slots: what runs alone, since it killed those who held it, runs alone in all of them. Thread-safe.</summary>
/// <remarks>Without it, an item that kills the process would be counted against whatever a neighbour was at.</remarks>
public sealed class SharedProcess
{
    private readonly Lock _gate = new();
    private readonly List<WorkDesk> _desks = [];
    private readonly SemaphoreSlim _turn = new(1, 1);

    internal void Enter(WorkDesk desk)
    {
        lock (_gate)
        {
            _desks.Add(desk);
            if (_turn.CurrentCount == 0)
            {
                desk.Pause(); // somebody is alone just now
            }
        }
    }

    internal void Leave(WorkDesk desk)
    {
        lock (_gate)
        {
            _desks.Remove(desk);
        }

        desk.Resume(); // wakes whoever waits for it to be empty
    }

    /// <summary>Begins a time alone: nobody takes anything more, and what is held is finished first.</summary>
    /// <returns>False where another is alone just now.</returns>
    internal async Task<bool> TryBeginAsync(CancellationToken shut)
    {
        if (!await _turn.WaitAsync(TimeSpan.Zero, CancellationToken.None))
        {
            return false;
        }

        try
        {
            WorkDesk[] desks;
            lock (_gate)
            {
                desks = [.. _desks];
                Array.ForEach(desks, desk => desk.Pause());
            }

            foreach (WorkDesk desk in desks)
            {
                await EmptyAsync(desk, shut);
            }

            return true;
        }
        catch
        {
            End();
            throw;
        }
    }

    internal void End()
    {
        lock (_gate)
        {
            _turn.Release();
            _desks.ForEach(desk => desk.Resume());
        }
    }

    private async Task EmptyAsync(WorkDesk desk, CancellationToken shut)
    {
        while (true)
        {
            Task changed = desk.Changed;
            if (desk.IsEmpty || !IsThere(desk))
            {
                return;
            }

            await changed.WaitAsync(shut);
        }
    }

    private bool IsThere(WorkDesk desk)
    {
        lock (_gate)
        {
            return _desks.Contains(desk);
        }
    }
}
