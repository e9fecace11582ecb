namespace MetaQuery.Farm;

/// <content>Which workers a job can go on with, and for which it waits.</content>
public sealed partial class FarmHead
{
    private string WaitReason(JobRecord record, WorkRoles missing)
    {
        string role = missing switch
        {
            WorkRoles.Mllm => " of role mllm",
            WorkRoles.Dit => " of role dit",
            _ => "",
        };
        return record.Lane is { } lane
            ? $"waits for a worker{role} that computes as the job began: {lane.Numerics}"
            : $"waits for a worker{role} with model {_model.Images.ModelName}{(record.Dtype is { } dtype ? $" in {dtype}" : "")}";
    }

    private Dictionary<string, WorkRoles> RolesByLane() => _dispatcher.Workers.Where(TakesWork).GroupBy(worker => worker.Info.Lane, StringComparer.Ordinal)
        .ToDictionary(lane => lane.Key, lane => lane.Aggregate(WorkRoles.None, (roles, worker) => roles | worker.Info.Roles), StringComparer.Ordinal);

    private bool TakesWork(WorkerView worker) => Serves(worker) && worker.Status.State == WorkerState.Running;

    /// <summary>The lane a job keeps to; for a new one that with most live slots, of those that compute as it asks and serve both roles.</summary>
    /// <param name="record">The job.</param>
    /// <param name="missing">Where there is none: the role that would make one; both where no worker is there at all.</param>
    private JobLane? LaneFor(JobRecord record, out WorkRoles missing)
    {
        Dictionary<string, WorkRoles> roles = RolesByLane();
        missing = WorkRoles.Both;
        if (record.Lane is { } known)
        {
            missing = WorkRoles.Both & ~roles.GetValueOrDefault(known.Name);
            return missing == WorkRoles.None ? known : null;
        }

        IEnumerable<IGrouping<string, WorkerView>> lanes = _dispatcher.Workers.Where(TakesWork).GroupBy(worker => worker.Info.Lane, StringComparer.Ordinal);
        foreach (IGrouping<string, WorkerView> lane in lanes.OrderByDescending(lane => lane.Sum(worker => worker.Info.Slots)))
        {
            WorkerInfo worker = lane.First().Info;
            var candidate = JobLane.Of(new ModelDescription(worker.Conditions, worker.Images));
            if ((record.Dtype is null || record.Dtype == candidate.Numerics.Dtype) && candidate.Describe(_model).Lane == candidate.Name)
            {
                WorkRoles lacks = WorkRoles.Both & ~roles[lane.Key];
                if (lacks == WorkRoles.None)
                {
                    missing = WorkRoles.None;
                    return candidate;
                }

                missing = lacks;
            }
        }

        return null;
    }
}
