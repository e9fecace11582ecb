using FsCheck.Xunit;

namespace MetaQuery.Farm.Tests.Queue;

public sealed class LifecycleTests
{
    private static readonly JobState[] States = Enum.GetValues<JobState>();
    private static readonly JobCommand[] Commands = Enum.GetValues<JobCommand>();
    private static readonly JobSignal[] Signals = Enum.GetValues<JobSignal>();

    public static TheoryData<JobState, JobCommand, JobState?> Allowed() => new()
    {
        { JobState.Planning, JobCommand.Pause, JobState.Paused },
        { JobState.Queued, JobCommand.Pause, JobState.Paused },
        { JobState.Running, JobCommand.Pause, JobState.Paused },
        { JobState.Paused, JobCommand.Pause, JobState.Paused },
        { JobState.Planning, JobCommand.Resume, JobState.Planning },
        { JobState.Queued, JobCommand.Resume, JobState.Queued },
        { JobState.Running, JobCommand.Resume, JobState.Running },
        { JobState.Paused, JobCommand.Resume, JobState.Queued },
        { JobState.Finishing, JobCommand.Resume, JobState.Finishing },
        { JobState.Planning, JobCommand.Cancel, JobState.Cancelled },
        { JobState.Queued, JobCommand.Cancel, JobState.Cancelled },
        { JobState.Running, JobCommand.Cancel, JobState.Cancelled },
        { JobState.Paused, JobCommand.Cancel, JobState.Cancelled },
        { JobState.Finishing, JobCommand.Cancel, JobState.Cancelled },
        { JobState.Cancelled, JobCommand.Cancel, JobState.Cancelled },
        { JobState.CompletedWithErrors, JobCommand.RetryFailed, JobState.Queued },
        { JobState.Failed, JobCommand.RetryFailed, JobState.Queued },
        { JobState.Completed, JobCommand.Delete, null },
        { JobState.CompletedWithErrors, JobCommand.Delete, null },
        { JobState.Cancelled, JobCommand.Delete, null },
        { JobState.Failed, JobCommand.Delete, null },
    };

    [Theory]
    [MemberData(nameof(Allowed))]
    public void A_command_leads_where_the_documents_say(JobState state, JobCommand command, JobState? next)
    {
        Assert.True(JobLifecycle.Allows(state, command));
        Assert.Equal(next, JobLifecycle.After(state, command));
    }

    [Fact]
    public void Every_other_command_is_refused_in_one_line_that_names_the_state()
    {
        var allowed = Allowed().Select(row => ((JobState)row[0]!, (JobCommand)row[1]!)).ToHashSet();
        foreach ((JobState state, JobCommand command) in States.SelectMany(state => Commands.Select(command => (state, command))).Except(allowed))
        {
            Assert.False(JobLifecycle.Allows(state, command));
            string message = Assert.Throws<JobStateException>(() => JobLifecycle.After(state, command)).Message;
            Assert.Contains(JobLifecycle.NameOf(state), message, StringComparison.Ordinal);
            Assert.DoesNotContain('\n', message);
        }
    }

    [Fact]
    public void A_signal_that_comes_late_changes_nothing_after_the_end() =>
        Assert.All(States.Where(JobLifecycle.IsFinal), state => Assert.All(Signals, signal => Assert.Equal(state, JobLifecycle.After(state, signal))));

    [Fact]
    public void Names_of_states_are_frozen()
    {
        Assert.Equal(
            ["planning", "running", "finishing", "completed", "completed_with_errors", "cancelled", "queued", "paused", "failed"],
            States.Select(JobLifecycle.NameOf));
        Assert.Equal(States.Select(state => (int)state), Enumerable.Range(0, 9)); // the journal holds these numbers
        Assert.All(States, state => Assert.True(JobLifecycle.TryParse(JobLifecycle.NameOf(state), out JobState parsed) && parsed == state));
        Assert.False(JobLifecycle.TryParse("Running", out _));
    }

    [Property(MaxTest = 2000)]
    public void Whatever_happens_a_job_says_only_what_is_true_and_comes_to_an_end(byte[] moves)
    {
        var job = new SimulatedJob();
        foreach (byte move in moves)
        {
            job.Do(move);
            job.Check();
            if (job.IsGone)
            {
                return;
            }
        }

        job.DriveToItsEnd();
        job.Check();
        Assert.True(JobLifecycle.IsFinal(job.State), $"the job is stuck in {job.State}");
    }

    /// <summary>A head that does nothing but keep to the table, and images that know what became of them.</summary>
    private sealed class SimulatedJob
    {
        private readonly Image[] _images = [Image.Waiting, Image.Waiting, Image.Waiting];
        private bool _isPlanned;
        private bool _wasCancelled;
        private bool _hadFault;

        private enum Image { Waiting, Out, Made, Failed }

        public JobState State { get; private set; } = JobLifecycle.Initial;

        public bool IsGone { get; private set; }

        private bool IsSettled => _images.All(image => image is Image.Made or Image.Failed);

        public void Do(byte move)
        {
            switch (move % 15)
            {
                case 0 when !_isPlanned && !JobLifecycle.IsFinal(State):
                    _isPlanned = true;
                    Signal(JobSignal.Planned);
                    break;
                case 1 when _isPlanned && State == JobState.Queued:
                    Signal(JobSignal.Started);
                    break;
                case 2 or 3 when JobLifecycle.IsFed(State):
                    Change(Image.Waiting, Image.Out);
                    break;
                case 4 or 5:
                    Change(Image.Out, Image.Made);
                    break;
                case 6:
                    Change(Image.Out, Image.Failed);
                    break;
                case 7 when State == JobState.Finishing:
                    Signal(_images.Contains(Image.Failed) ? JobSignal.FinishedWithErrors : JobSignal.Finished);
                    break;
                case 8: // a crash: what was out is found again or made again
                    All(Image.Out, Image.Waiting);
                    Signal(JobSignal.Restarted);
                    break;
                case 9:
                    Signal(JobSignal.WorkersGone);
                    break;
                case 10:
                    _wasCancelled |= !JobLifecycle.IsFinal(State) && State != JobState.Finishing;
                    Signal(JobSignal.DeadlinePassed);
                    break;
                case 11:
                    _hadFault = true;
                    Signal(JobSignal.Failed);
                    break;
                case < 12:
                    break; // it cannot happen now
                default:
                    Ask(Commands[move / 15 % Commands.Length]);
                    break;
            }

            if (JobLifecycle.IsFinal(State))
            {
                All(Image.Out, Image.Waiting); // withdrawn
            }

            Settle();
        }

        public void Check()
        {
            switch (State)
            {
                case JobState.Running:
                    Assert.True(_isPlanned);
                    break;
                case JobState.Finishing:
                    Assert.True(IsSettled);
                    break;
                case JobState.Completed:
                    Assert.All(_images, image => Assert.Equal(Image.Made, image));
                    break;
                case JobState.CompletedWithErrors:
                    Assert.True(IsSettled);
                    Assert.Contains(Image.Failed, _images);
                    break;
                case JobState.Cancelled:
                    Assert.True(_wasCancelled);
                    break;
                case JobState.Failed:
                    Assert.True(_hadFault);
                    break;
            }

            Assert.True(!JobLifecycle.IsFinal(State) || !_images.Contains(Image.Out));
        }

        /// <summary>Nobody asks anything any more but to go on, and nothing fails: then it must end.</summary>
        public void DriveToItsEnd()
        {
            for (int i = 0; i < 10 && !JobLifecycle.IsFinal(State); i++)
            {
                if (State == JobState.Paused)
                {
                    Ask(JobCommand.Resume);
                }

                foreach (byte move in (ReadOnlySpan<byte>)[0, 1, 2, 4, 7])
                {
                    Do(move);
                }
            }
        }

        private void Ask(JobCommand command)
        {
            if (!JobLifecycle.Allows(State, command))
            {
                Assert.Throws<JobStateException>(() => JobLifecycle.After(State, command));
                return;
            }

            JobState? next = JobLifecycle.After(State, command);
            if (next is null)
            {
                IsGone = true;
                return;
            }

            if (command == JobCommand.RetryFailed)
            {
                All(Image.Failed, Image.Waiting);
            }
            else
            {
                // a client that did not hear the answer asks again
                Assert.Equal(next, JobLifecycle.After(next.Value, command));
            }

            _wasCancelled |= command == JobCommand.Cancel;
            State = next.Value;
        }

        private void Settle()
        {
            if (_isPlanned && IsSettled && State is JobState.Queued or JobState.Running or JobState.Paused)
            {
                Signal(JobSignal.Settled);
                Assert.Equal(JobState.Finishing, State);
            }
        }

        private void Signal(JobSignal signal) => State = JobLifecycle.After(State, signal);

        private void Change(Image from, Image to)
        {
            int index = Array.IndexOf(_images, from);
            if (index >= 0)
            {
                _images[index] = to;
            }
        }

        private void All(Image from, Image to) => Array.ForEach([0, 1, 2], index => _images[index] = _images[index] == from ? to : _images[index]);
    }
}
