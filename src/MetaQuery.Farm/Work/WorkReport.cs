namespace MetaQuery.Farm;

/// <summary>A worker's hold on an item. Whoever lost it cannot report any more: that is the fence.</summary>
/// <param name="Token">The queue's own handle, never used twice.</param>
/// <param name="Item">The work.</param>
public sealed record Lease(string Token, WorkItem Item);

/// <summary>What came of a leased item.</summary>
public abstract record WorkOutcome;

/// <summary>The condition is in the cache.</summary>
/// <param name="WasMade">False where a tier held it already.</param>
public sealed record EncodedOutcome(bool WasMade) : WorkOutcome;

/// <summary>The image is made.</summary>
public sealed record DenoisedOutcome(FinishedSample Sample) : WorkOutcome;

/// <summary>A live worker reports an error.</summary>
/// <param name="Reason">One line.</param>
/// <param name="BatchRows">Rows of the batch that failed: more than 1 says nothing yet of this very item.</param>
public sealed record FailedOutcome(string Reason, int BatchRows) : WorkOutcome;

/// <summary>No tier holds a condition that the item needs (any more): it must be made again first. Counts as no error.</summary>
public sealed record MissingConditionOutcome(ConditionKey Key) : WorkOutcome;

/// <summary>Given back untouched: the worker drains, or the job was paused or cancelled.</summary>
public sealed record ReturnedOutcome : WorkOutcome;

/// <summary>A worker's report.</summary>
public sealed record WorkReport(Lease Lease, WorkOutcome Outcome);

/// <summary>A report as it reaches the head.</summary>
/// <param name="Receipt">The feed's own handle, for <see cref="IWorkFeed.ConfirmAsync"/>.</param>
/// <param name="Worker">Who reported.</param>
/// <param name="Item">The work.</param>
/// <param name="Outcome">What came of it.</param>
public sealed record ReceivedReport(string Receipt, string Worker, WorkItem Item, WorkOutcome Outcome);
