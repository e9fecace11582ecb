namespace MetaQuery.Chaos;

/// <summary>What is done to a running farm. Names go into logs and documents: append-only.</summary>
internal enum FaultKind
{
    KillWorker,
    KillHead,
    KillRedis,

    /// <summary>SIGSTOP for longer than a lease lasts, then SIGCONT.</summary>
    Pause,

    /// <summary>Not a byte is left where the head keeps its data.</summary>
    FullDisk,

    /// <summary>Every write and sync of head and workers takes long.</summary>
    SlowDisk,

    /// <summary>Connections to Redis are cut, or carry nothing for longer than a lease lasts.</summary>
    DropConnections,
}

/// <summary>To whom it is done.</summary>
internal enum FaultTarget { FirstWorker, SecondWorker, Head, Redis, Everyone }

/// <summary>One fault, as the seed has it.</summary>
/// <param name="Number">From 1.</param>
/// <param name="Target">To whom.</param>
/// <param name="AfterImages">So many images are committed after the last fault was over, before this one comes.</param>
/// <param name="Share">0 to 1, for what has a length: between its shortest and its longest.</param>
/// <param name="IsSilent">Of dropped connections: they stay open and carry nothing.</param>
internal sealed record PlannedFault(int Number, FaultKind Kind, FaultTarget Target, int AfterImages, double Share, bool IsSilent);

/// <summary>Faults in the order of a seed: the same seed and number give the same ones.</summary>
internal static class FaultPlan
{
    /// <summary>With so many, or more, each kind can have its tenth.</summary>
    public const int Fewest = 14;

    private const int MostImagesBetween = 6;

    /// <summary>Each kind is at least a tenth of all, rounded up; chance has the rest, and the order.</summary>
    /// <param name="of">Only of these kinds; null for all.</param>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than <see cref="Fewest"/>, or too few for the kinds named.</exception>
    public static IReadOnlyList<PlannedFault> Create(int seed, int faults, IReadOnlyList<FaultKind>? of = null)
    {
        var kinds = of?.ToArray() ?? Enum.GetValues<FaultKind>();
        var each = (faults + 9) / 10;
        ArgumentOutOfRangeException.ThrowIfLessThan(faults, of is null ? Fewest : each * kinds.Length);
        var random = new Random(seed); // seeded, .NET's sequence is the same for good
        List<FaultKind> chosen = [.. kinds.SelectMany(kind => Enumerable.Repeat(kind, each))];
        while (chosen.Count < faults)
        {
            chosen.Add(kinds[random.Next(kinds.Length)]);
        }

        var order = chosen.ToArray();
        random.Shuffle(order);
        return [.. order.Select((kind, index) => Plan(index + 1, kind, random))];
    }

    /// <summary>The kind's name in logs: <c>kill-worker</c>.</summary>
    public static string NameOf(FaultKind kind) => kind switch
    {
        FaultKind.KillWorker => "kill-worker",
        FaultKind.KillHead => "kill-head",
        FaultKind.KillRedis => "kill-redis",
        FaultKind.Pause => "pause",
        FaultKind.FullDisk => "full-disk",
        FaultKind.SlowDisk => "slow-disk",
        FaultKind.DropConnections => "drop-connections",
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "not a kind of fault"),
    };

    private static PlannedFault Plan(int number, FaultKind kind, Random random)
    {
        var afterImages = random.Next(1, MostImagesBetween + 1);
        var worker = random.Next(2) == 0 ? FaultTarget.FirstWorker : FaultTarget.SecondWorker;
        var chance = random.Next(4);
        var share = random.NextDouble();
        var isSilent = random.Next(2) == 0;
        var target = kind switch
        {
            FaultKind.KillWorker => worker,
            FaultKind.KillHead => FaultTarget.Head,
            FaultKind.KillRedis => FaultTarget.Redis,
            FaultKind.Pause => chance switch { 0 => FaultTarget.Head, 1 => FaultTarget.Redis, _ => worker },
            FaultKind.DropConnections => chance switch { 0 => FaultTarget.Head, 1 => FaultTarget.Everyone, _ => worker },
            _ => FaultTarget.Everyone,
        };
        return new PlannedFault(number, kind, target, afterImages, share, kind == FaultKind.DropConnections && isSilent);
    }
}
