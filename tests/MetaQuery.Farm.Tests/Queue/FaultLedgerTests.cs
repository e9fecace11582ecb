using FsCheck.Xunit;
using MetaQuery.Farm.Tests.Doubles;

namespace MetaQuery.Farm.Tests.Queue;

public sealed class FaultLedgerTests
{
    private readonly FaultLedger _ledger = new();

    [Fact]
    public void The_third_error_of_a_live_worker_quarantines_with_its_reason()
    {
        WorkItem item = Items.Denoise("j", 1);
        Assert.Equal(FaultCourse.Singly, _ledger.Error(item, "one").Course);
        Assert.Equal(FaultCourse.Singly, _ledger.Error(item, "two").Course);
        FaultVerdict last = _ledger.Error(item, "NaN in the picture");
        Assert.Equal((FaultCourse.Quarantined, "NaN in the picture"), (last.Course, last.Reason));
    }

    [Fact]
    public void After_the_first_error_which_may_be_its_batchs_an_item_runs_singly_so_that_the_others_are_its_own()
    {
        WorkItem item = Items.Denoise("j", 1);
        FaultVerdict verdict = _ledger.Error(item, "one of us");
        Assert.Equal((FaultCourse.Singly, 1), (verdict.Course, verdict.Record.Errors));
        Assert.True(_ledger.Prepare(item).RunsSingly);
    }

    [Fact]
    public void After_three_deaths_it_runs_alone_and_after_three_more_it_is_quarantined()
    {
        WorkItem item = Items.Denoise("j", 1);
        var courses = new List<FaultCourse>();
        for (int i = 0; i < 6; i++)
        {
            courses.Add(_ledger.Death(_ledger.Prepare(item)).Course);
        }

        Assert.Equal(
            [FaultCourse.Again, FaultCourse.Again, FaultCourse.Alone, FaultCourse.Alone, FaultCourse.Alone, FaultCourse.Quarantined], courses);
        Assert.Equal("its worker died 6 times, 3 of them with nothing else at work", _ledger.Find(item.Id)!.Reason);
    }

    [Fact]
    public void Deaths_beside_others_never_quarantine()
    {
        WorkItem item = Items.Denoise("j", 1); // an item that lay in a queue before it was known to run alone
        Assert.All(Enumerable.Range(0, 20), _ => Assert.NotEqual(FaultCourse.Quarantined, _ledger.Death(item).Course));
    }

    [Fact]
    public void What_is_retried_has_all_its_chances_again_but_alone()
    {
        WorkItem item = Items.Denoise("j", 1);
        Array.ForEach(["a", "b", "c"], reason => _ledger.Error(item, reason));
        _ledger.Pardon(item.Id);
        WorkItem again = _ledger.Prepare(item);
        Assert.True(again.RunsAlone && again.RunsSingly);
        Assert.Equal(
            [FaultCourse.Alone, FaultCourse.Alone, FaultCourse.Quarantined], Enumerable.Range(0, 3).Select(_ => _ledger.Death(again).Course));
    }

    [Fact]
    public void What_is_settled_or_deleted_takes_no_memory()
    {
        _ledger.Error(Items.Denoise("j", 1), "x");
        _ledger.Error(Items.Denoise("j", 2), "x");
        _ledger.Error(Items.Denoise("jj", 1), "x");
        Assert.True(_ledger.Forget("d/j/1", out FaultRecord? record) && record.IsEmpty);
        Assert.False(_ledger.Forget("d/j/1", out _));
        Assert.Equal(["d/j/2"], _ledger.ForgetJob("j").Select(forgotten => forgotten.ItemId));
        Assert.Equal(1, _ledger.Count);
    }

    [Property(MaxTest = 300)]
    public void A_ledger_read_back_from_its_records_decides_as_the_one_that_wrote_them(byte[] moves)
    {
        var ledger = new FaultLedger();
        WorkItem[] items = [.. Enumerable.Range(0, 3).Select(i => Items.Denoise("j", i)), Items.Encode("a cat")];
        var journal = new List<byte[]>();
        foreach (byte move in moves)
        {
            WorkItem item = ledger.Prepare(items[move % 4]);
            FaultRecord? record = (move / 4 % 6) switch
            {
                0 or 1 => ledger.Error(item, $"reason {move}").Record,
                2 or 3 => ledger.Death(item).Record,
                4 => ledger.Forget(item.Id, out FaultRecord? forgotten) ? forgotten : null,
                _ => ledger.Pardon(item.Id),
            };
            if (record is not null)
            {
                journal.Add(record.ToBytes());
            }

            FaultLedger replayed = Read(journal);
            Assert.Equal(ledger.Snapshot().OrderBy(one => one.ItemId), replayed.Snapshot().OrderBy(one => one.ItemId));
            Assert.Equal(items.Select(ledger.Prepare), items.Select(replayed.Prepare));
            Assert.Equal(ledger.Snapshot().OrderBy(one => one.ItemId), Read(ledger.Snapshot().Select(one => one.ToBytes())).Snapshot().OrderBy(one => one.ItemId));
        }

        static FaultLedger Read(IEnumerable<byte[]> records)
        {
            var read = new FaultLedger();
            foreach (byte[] record in records)
            {
                read.Apply(FaultRecord.Parse(record));
            }

            return read;
        }
    }

    [Property(MaxTest = 300)]
    public void An_item_is_given_up_after_three_errors_or_three_deaths_alone_and_not_before(byte[] moves)
    {
        var ledger = new FaultLedger();

        // the rules once more, counted plainly
        WorkItem item = Items.Denoise("j", 1);
        int errors = 0, deaths = 0, deathsAlone = 0;
        bool single = false;
        foreach (byte move in moves)
        {
            WorkItem fed = ledger.Prepare(item);
            Assert.Equal((deaths >= 3, single), (fed.RunsAlone, fed.RunsSingly));
            FaultVerdict verdict;
            if (move % 2 == 0)
            {
                errors++;
                single = true;
                verdict = ledger.Error(fed, "x");
            }
            else
            {
                (deaths, deathsAlone) = deaths >= 3 ? (deaths, deathsAlone + 1) : (deaths + 1, deathsAlone);
                verdict = ledger.Death(fed);
            }

            bool isOver = errors == 3 || deathsAlone == 3;
            Assert.Equal(isOver, verdict.Course == FaultCourse.Quarantined);
            if (isOver)
            {
                return;
            }
        }
    }

    [Fact]
    public void A_job_whose_first_50_images_all_fail_is_ended_and_one_with_a_success_is_not()
    {
        var breaker = new FailureBreaker(50);
        Assert.All(Enumerable.Range(0, 49), _ => Assert.Null(breaker.Failed("out of memory")));
        Assert.Equal("the first 50 images all failed, the last with: out of memory", breaker.Failed("out of memory"));

        var other = new FailureBreaker(50);
        Assert.Null(other.Failed("x"));
        other.Succeeded();
        Assert.All(Enumerable.Range(0, 1000), _ => Assert.Null(other.Failed("x")));
    }
}
