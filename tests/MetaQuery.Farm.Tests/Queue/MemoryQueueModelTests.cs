using FsCheck.Xunit;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests.Queue;

/// <summary>The queue beside a plain list of what it should hold, under any sequence of calls.</summary>
public sealed class MemoryQueueModelTests
{
    private static readonly TimeSpan LeaseTime = TimeSpan.FromSeconds(30);
    private static readonly string[] Workers = ["w0", "w1"];
    private static readonly string[] Jobs = ["a", "b"];

    [Property(MaxTest = 1000, EndSize = 300)]
    public void The_queue_does_what_the_plain_one_does(byte[] moves) => Run(moves, journal: null);

    [Property(MaxTest = 50, EndSize = 300)]
    public void What_was_leased_when_the_process_died_is_named_and_taken_back_once(byte[] moves)
    {
        using var work = new Workspace();
        string journal = work["leases.log"];
        List<WorkItem> leased = Run(moves, journal);
        for (int restart = 0; restart < 2; restart++)
        {
            // the queue before was not disposed: nothing of it but the file is left
            using var queue = new MemoryWorkQueue(LeaseTime, new ManualClock(), journal);
            Same(leased, Get(queue.RecoverAsync(default)));
            Same(leased, Get(queue.RecoverAsync(default)));
            if (restart == 1)
            {
                Same(leased, Get(queue.ReclaimAsync(default)));
                Assert.Empty(Get(queue.ReclaimAsync(default)));
                Assert.Empty(Get(queue.RecoverAsync(default)));
            }
        }

        using var last = new MemoryWorkQueue(LeaseTime, new ManualClock(), journal);
        Assert.Empty(Get(last.ReclaimAsync(default)));
    }

    private static List<WorkItem> Run(byte[] moves, string? journal)
    {
        var clock = new ManualClock();
        var queue = new MemoryWorkQueue(LeaseTime, clock, journal);
        var model = new PlainQueue();
        var seen = new List<(string Worker, Lease Lease)>(); // also those that were lost, to try them again
        var tokens = new HashSet<string>();
        var received = new List<ReceivedReport>();
        var withdrawn = new List<string>();
        using IDisposable subscription = queue.OnWithdrawn(withdrawn.Add);
        int next = 0;
        foreach ((int step, byte move) in moves.Index())
        {
            string worker = Workers[move & 1];
            int argument = move / 16;
            switch (move % 16)
            {
                case 0 or 1:
                    List<WorkItem> items = [.. Enumerable.Range(0, 1 + (argument % 4)).Select(i => NewItem(step + (i * 7) + argument, ref next))];
                    Wait(queue.FeedAsync("lane", items, default));
                    items.ForEach(model.Feed);
                    break;
                case 2 or 3 or 4:
                    WorkRoles role = (argument & 1) == 0 ? WorkRoles.Dit : WorkRoles.Mllm;
                    Take(worker, Get(queue.LeaseAsync(new LeaseRequest(worker, "lane", role, 1 + (argument / 2), TimeSpan.Zero), default)),
                        model.Lease(worker, role, 1 + (argument / 2), clock.GetUtcNow()));
                    break;
                case 5:
                    WorkRoles roles = (WorkRoles)(1 + (argument % 3));
                    Assert.Equal(model.HasAlone(roles), Get(queue.HasAloneAsync("lane", roles, default)));
                    Take(worker, Get(queue.LeaseAloneAsync(worker, "lane", roles, default)) is { } alone ? [alone] : [], model.LeaseAlone(worker, roles, clock.GetUtcNow()));
                    break;
                case 6 or 7 or 8:
                    // own leases, somebody else's, ones reported before, the same one twice
                    List<Lease> reported = [.. Enumerable.Range(0, Math.Min(seen.Count, 1 + (argument % 5))).Select(i => seen[(step + (i * 3)) % seen.Count].Lease)];
                    IReadOnlyList<bool> taken = Get(queue.ReportAsync(worker, [.. reported.Select(lease => new WorkReport(lease, new EncodedOutcome(true)))], default));
                    Assert.Equal(reported.Select(lease => model.Report(worker, lease.Token)), taken);
                    break;
                case 9:
                    Lease[] kept = [.. seen.Where((_, i) => (i & 1) == (argument & 1)).Select(one => one.Lease)];
                    Assert.Equal(kept.Where(lease => !model.Renew(worker, lease.Token, clock.GetUtcNow())), Get(queue.RenewAsync(worker, kept, default)));
                    break;
                case 10:
                    clock.Advance(TimeSpan.FromSeconds(argument * 3));
                    break;
                case 11:
                    Same(model.Reclaim(clock.GetUtcNow() - LeaseTime), Get(queue.ReclaimAsync(default)));
                    break;
                case 12:
                    int before = withdrawn.Count;
                    Wait(queue.WithdrawAsync(Jobs[argument & 1], default));
                    Assert.Equal([Jobs[argument & 1]], withdrawn.Skip(before));
                    model.Withdraw(Jobs[argument & 1]);
                    break;
                case 13:
                    IReadOnlyList<ReceivedReport> reports = Get(queue.ReceiveAsync(1 + argument, TimeSpan.Zero, default));
                    Assert.Equal(model.Receive(1 + argument), reports.Select(report => (report.Worker, report.Item)));
                    received.AddRange(reports);
                    break;
                case 14:
                    Wait(queue.ConfirmAsync(received, default));
                    model.Confirm(received.Select(report => report.Item));
                    received.Clear();
                    break;
                default:
                    if (argument == 0) // a new head in the same process
                    {
                        Same(model.Recover(), Get(queue.RecoverAsync(default)));
                        received.Clear();
                    }

                    break;
            }

            Assert.Equal(model.Depth(), Get(queue.DepthAsync("lane", default)));
        }

        return [.. model.Recover()];

        void Take(string worker, IReadOnlyList<Lease> leases, IReadOnlyList<WorkItem> expected)
        {
            Same(expected, leases.Select(lease => lease.Item));
            foreach (Lease lease in leases)
            {
                Assert.True(tokens.Add(lease.Token), $"the token {lease.Token} was given twice");
                seen.Add((worker, lease));
                model.Name(lease.Item, lease.Token);
            }
        }
    }

    private static WorkItem NewItem(int random, ref int next)
    {
        int number = random % 5 == 0 ? Math.Max(0, next - 1) : next++; // now and then the same item again
        JobPriority priority = random % 3 == 0 ? JobPriority.Interactive : JobPriority.Bulk;
        return random % 4 == 1
            ? Items.Encode($"prompt {number}", priority, alone: random % 11 == 0)
            : Items.Denoise(Jobs[number & 1], number, priority, alone: random % 11 == 0);
    }

    private static void Same(IEnumerable<WorkItem> expected, IEnumerable<WorkItem> actual) => Assert.Equal(expected.Select(Text), actual.Select(Text));

    private static string Text(WorkItem item) => $"{item.Id} {item.Priority} {item.RunsAlone} {Convert.ToHexString(WorkItemCodec.ToBytes(item))}";

    private static T Get<T>(ValueTask<T> task)
    {
        Assert.True(task.IsCompleted, "nothing here may wait");
        return task.GetAwaiter().GetResult();
    }

    private static void Wait(ValueTask task)
    {
        Assert.True(task.IsCompleted, "nothing here may wait");
        task.GetAwaiter().GetResult();
    }

    /// <summary>Lists, and nothing clever.</summary>
    private sealed class PlainQueue
    {
        private readonly List<WorkItem> _waiting = [];
        private readonly List<Entry> _held = [];
        private readonly List<(string Worker, WorkItem Item)> _reports = [];
        private readonly List<(string Worker, WorkItem Item)> _unconfirmed = [];
        private readonly Dictionary<WorkRoles, int> _interactiveInARow = new() { [WorkRoles.Mllm] = 0, [WorkRoles.Dit] = 0 };

        public void Feed(WorkItem item) => _waiting.Add(item);

        public List<WorkItem> Lease(string worker, WorkRoles role, int most, DateTimeOffset now)
        {
            var taken = new List<WorkItem>();
            while (taken.Count < most)
            {
                List<WorkItem> open = [.. _waiting.Where(item => item.Role == role && !item.RunsAlone)];
                WorkItem? interactive = open.Find(item => item.Priority == JobPriority.Interactive);
                WorkItem? bulk = open.Find(item => item.Priority == JobPriority.Bulk);
                WorkItem? item = bulk is not null && (interactive is null || _interactiveInARow[role] >= 15) ? bulk : interactive;
                if (item is null)
                {
                    break;
                }

                _interactiveInARow[role] = item == bulk ? 0 : Math.Min(15, _interactiveInARow[role] + 1);
                Hold(worker, item, now);
                taken.Add(item);
            }

            return taken;
        }

        public bool HasAlone(WorkRoles roles) => _waiting.Exists(item => item.RunsAlone && roles.HasFlag(item.Role));

        public List<WorkItem> LeaseAlone(string worker, WorkRoles roles, DateTimeOffset now)
        {
            WorkItem? item = _waiting.Where(item => item.RunsAlone && roles.HasFlag(item.Role)).OrderBy(item => item.Role).FirstOrDefault();
            if (item is null)
            {
                return [];
            }

            Hold(worker, item, now);
            return [item];
        }

        public void Name(WorkItem item, string token) => _held.First(entry => entry.Token is null && ReferenceEquals(entry.Item, item)).Token = token;

        public bool Report(string worker, string token)
        {
            if (_held.Find(entry => entry.Token == token && entry.Worker == worker) is not { } entry)
            {
                return false;
            }

            _held.Remove(entry);
            _reports.Add((worker, entry.Item));
            return true;
        }

        public bool Renew(string worker, string token, DateTimeOffset now)
        {
            if (_held.Find(entry => entry.Token == token && entry.Worker == worker) is not { } entry)
            {
                return false;
            }

            entry.RenewedAt = now;
            return true;
        }

        public List<WorkItem> Reclaim(DateTimeOffset silentSince)
        {
            List<Entry> dead = [.. _held.Where(entry => entry.RenewedAt < silentSince)];
            dead.ForEach(entry => _held.Remove(entry));
            return [.. dead.Select(entry => entry.Item)];
        }

        public void Withdraw(string job)
        {
            _waiting.RemoveAll(item => item is DenoiseItem denoise && denoise.JobId == job);
            _held.RemoveAll(entry => entry.Item is DenoiseItem denoise && denoise.JobId == job);
        }

        public IEnumerable<(string Worker, WorkItem Item)> Receive(int most)
        {
            List<(string Worker, WorkItem Item)> received = [.. _reports.Take(most)];
            _reports.RemoveRange(0, received.Count);
            _unconfirmed.AddRange(received);
            return received;
        }

        public void Confirm(IEnumerable<WorkItem> items)
        {
            foreach (WorkItem item in items)
            {
                _unconfirmed.RemoveAt(_unconfirmed.FindIndex(report => ReferenceEquals(report.Item, item)));
            }
        }

        public IEnumerable<WorkItem> Recover()
        {
            _waiting.Clear();
            _reports.InsertRange(0, _unconfirmed);
            _unconfirmed.Clear();
            return _held.Select(entry => entry.Item);
        }

        public LaneDepth Depth() => new(
            _waiting.Count(item => item.Role == WorkRoles.Mllm && !item.RunsAlone), _waiting.Count(item => item.Role == WorkRoles.Dit && !item.RunsAlone), _held.Count, _reports.Count + _unconfirmed.Count);

        private void Hold(string worker, WorkItem item, DateTimeOffset now)
        {
            _waiting.RemoveAt(_waiting.FindIndex(other => ReferenceEquals(other, item)));
            _held.Add(new Entry(worker, item) { RenewedAt = now });
        }

        private sealed class Entry(string worker, WorkItem item)
        {
            public string Worker { get; } = worker;
            public WorkItem Item { get; } = item;
            public string? Token { get; set; }
            public DateTimeOffset RenewedAt { get; set; }
        }
    }
}
