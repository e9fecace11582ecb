using System.Net;
using MetaQuery.Farm;
using Orleans.Runtime;

namespace MetaQuery.Orleans.Tests;

/// <summary>Where grains go and which word holds: plain rules, without a cluster.</summary>
public sealed class RuleTests
{
    private static SiloAddress Silo(int port, int generation) => SiloAddress.New(new IPEndPoint(IPAddress.Loopback, port), generation);

    private static SiloFacts Facts(int port, int generation, SiloRoles roles) => new(Silo(port, generation), roles, 1, 1, "");

    [Fact]
    public void The_head_goes_to_the_oldest_silo_that_has_the_role()
    {
        SiloFacts[] silos = [Facts(1, 30, SiloRoles.All), Facts(2, 10, SiloRoles.Dit), Facts(3, 20, SiloRoles.Head)];
        Assert.Equal(Silo(3, 20), HeadRule.Choose(silos, known: null));
    }

    [Fact]
    public void The_head_stays_where_it_is_while_that_silo_lives_and_moves_when_it_does_not()
    {
        SiloFacts[] silos = [Facts(1, 30, SiloRoles.All), Facts(3, 20, SiloRoles.Head)];
        Assert.Equal(Silo(1, 30), HeadRule.Choose(silos, known: Silo(1, 30)));
        Assert.Equal(Silo(3, 20), HeadRule.Choose(silos, known: Silo(1, 29))); // the same port, another process
    }

    [Fact]
    public void Silos_that_started_in_the_same_second_agree_on_one_of_them_whatever_the_order_they_are_seen_in()
    {
        SiloFacts[] silos = [Facts(7, 20, SiloRoles.All), Facts(5, 20, SiloRoles.All), Facts(6, 20, SiloRoles.All)];
        var chosen = HeadRule.Choose(silos, known: null);
        Array.Reverse(silos);
        Assert.Equal(chosen, HeadRule.Choose(silos, known: null));
    }

    [Theory]
    [InlineData("a", false, 0, false)] // its own
    [InlineData("a", true, 4, false)]
    [InlineData("b", false, 0, true)] // the other waits for what this one holds
    [InlineData("b", true, 5, true)]
    [InlineData("b", true, 3, false)] // a word from before this one's head
    public void A_head_is_let_go_when_its_grain_speaks_from_another_silo(string silo, bool isRunning, long epoch, bool isReplaced) =>
        Assert.Equal(isReplaced, HeadRule.IsReplaced("a", 4, new HeadStanding(silo, isRunning, IsReady: isRunning, Reason: null, epoch)));

    [Fact]
    public void Without_a_silo_of_the_role_there_is_no_head()
    {
        Assert.Null(HeadRule.Choose([Facts(1, 1, SiloRoles.Mllm | SiloRoles.Dit)], known: Silo(1, 1)));
        Assert.Null(HeadRule.Choose([], known: null));
    }

    [Fact]
    public void A_slots_grain_goes_to_the_process_that_owns_the_slot_and_nowhere_else()
    {
        SiloAddress[] active = [Silo(1, 10), Silo(2, 20)];
        Assert.Equal(Silo(2, 20), OwnerRule.Choose(new SlotKey(Silo(2, 20), 3).ToString(), active));
        Assert.Null(OwnerRule.Choose(new SlotKey(Silo(2, 19), 3).ToString(), active)); // the process before, on the same port
        Assert.Equal(Silo(1, 10), OwnerRule.Choose(Silo(1, 10).ToParsableString(), active)); // a silo's own grain
    }

    [Theory]
    [InlineData("")]
    [InlineData("nonsense")]
    [InlineData("127.0.0.1:1@1/x")]
    [InlineData("127.0.0.1:1@1/-1")]
    [InlineData("127.0.0.1:99999@1/0")]
    [InlineData("@/0")]
    public void A_text_that_is_no_slots_key_is_nobodys(string key) => Assert.Null(OwnerRule.Choose(key, [Silo(1, 1)]));

    [Fact]
    public void A_slots_key_is_written_as_it_was_frozen_and_read_back()
    {
        var key = new SlotKey(Silo(11111, 120), 4);
        Assert.Equal("127.0.0.1:11111@120/4", key.ToString());
        Assert.True(SlotKey.TryParse(key.ToString(), out SlotKey read));
        Assert.Equal(key, read);
    }

    [Theory]
    [InlineData("head", SiloRoles.Head)]
    [InlineData("dit,mllm", SiloRoles.Mllm | SiloRoles.Dit)]
    [InlineData("head mllm+dit", SiloRoles.All)]
    public void Roles_are_read_in_any_order(string text, SiloRoles roles) => Assert.Equal(roles, SiloRoleNames.Parse(text));

    [Theory]
    [InlineData("")]
    [InlineData("head,cook")]
    public void What_is_no_role_is_refused(string text) => Assert.Null(SiloRoleNames.Parse(text));

    [Fact]
    public void What_a_silo_says_of_itself_is_read_back_and_what_says_nothing_has_no_role()
    {
        var published = SiloFacts.Publish(SiloRoles.Head | SiloRoles.Dit, 3, 42, "http://127.0.0.1:8080");
        Assert.Equal(new SiloFacts(Silo(1, 1), SiloRoles.Head | SiloRoles.Dit, 3, 42, "http://127.0.0.1:8080"), SiloFacts.Read(Silo(1, 1), published));
        Assert.Equal(SiloRoles.None, SiloFacts.Read(Silo(1, 1), new Dictionary<string, string>()).Roles);
        string[] frozen = ["mq.process=42", "mq.roles=head,dit", "mq.slots=3", "mq.urls=http://127.0.0.1:8080"];
        Assert.Equal(frozen, published.Select(pair => $"{pair.Key}={pair.Value}").Order(StringComparer.Ordinal));
    }

    [Fact]
    public void A_head_that_was_replaced_changes_no_ticket_any_more()
    {
        JobTicket old = Ticket(JobState.Running, epoch: 4, silo: "a");
        JobTicket next = Ticket(JobState.Queued, epoch: 5, silo: "b");
        Assert.Equal(next with { AdoptedAt = old.AdoptedAt }, JobTicketRules.After(old, next));
        Assert.Same(next, JobTicketRules.After(next, Ticket(JobState.Completed, epoch: 4, silo: "a")));
    }

    [Fact]
    public void The_same_word_again_changes_nothing_so_that_nothing_is_written()
    {
        JobTicket known = Ticket(JobState.Running, epoch: 4, silo: "a");
        Assert.Same(known, JobTicketRules.After(known, Ticket(JobState.Running, epoch: 4, silo: "a")));
        Assert.NotSame(known, JobTicketRules.After(known, Ticket(JobState.Paused, epoch: 4, silo: "a")));
    }

    [Theory]
    [InlineData(JobState.Queued, true)]
    [InlineData(JobState.Paused, true)]
    [InlineData(JobState.Finishing, true)]
    [InlineData(JobState.Completed, false)]
    [InlineData(JobState.Failed, false)]
    public void A_jobs_reminder_stands_until_the_job_has_ended(JobState state, bool stands) =>
        Assert.Equal(stands, JobTicketRules.NeedsReminder(Ticket(state, 1, "a")));

    [Fact]
    public async Task A_call_that_comes_again_is_carried_out_once_and_answered_alike()
    {
        var book = new AnswerBook<int>(most: 2);
        int made = 0;
        var call = Guid.NewGuid();
        Task<int> Make() => Task.FromResult(Interlocked.Increment(ref made));
        int[] answers = await Task.WhenAll(book.Once(call, Make), book.Once(call, Make));
        Assert.Equal([1, 1], answers);
        await book.Once(Guid.NewGuid(), Make);
        await book.Once(Guid.NewGuid(), Make); // the book is full: the oldest goes
        Assert.Equal(4, await book.Once(call, Make));
    }

    [Fact]
    public async Task A_call_that_failed_may_be_made_again()
    {
        var book = new AnswerBook<int>(most: 2);
        var call = Guid.NewGuid();
        await Assert.ThrowsAsync<JobStateException>(() => book.Once(call, () => throw new JobStateException("not now")));
        long start = TimeProvider.System.GetTimestamp();
        while (true)
        {
            try
            {
                Assert.Equal(7, await book.Once(call, () => Task.FromResult(7)));
                return;
            }
            catch (JobStateException) when (TimeProvider.System.GetElapsedTime(start) < TimeSpan.FromMinutes(1))
            {
                await Task.Yield(); // it is forgotten a moment after it failed
            }
        }
    }

    private static JobTicket Ticket(JobState state, long epoch, string silo) =>
        new("job_1", "tenant", "name", JobPriority.Bulk, state, 1, 2, silo, epoch, DateTimeOffset.FromUnixTimeSeconds(epoch));

    [Fact]
    public void What_Orleans_says_of_its_storage_reaches_a_user_as_one_short_line()
    {
        var storage = new Exception("Error from storage provider RedisGrainStorage.tenant during ReadStateAsync for grain tenant/local\n Error: it was not possible to connect\n   at A.B()\n   at C.D()");
        Assert.Equal("redis cannot be reached, or takes nothing; it must run, and be seen from every silo", ClusterCalls.Describe(new InvalidOperationException("activation failed", storage)));
        Assert.Equal(new string('x', 200) + "...", ClusterCalls.Describe(new InvalidOperationException(new string('x', 3000))));
    }
}
