using MetaQuery.Imaging;

namespace MetaQuery.Farm;

/// <summary>One slot: an OS thread with its own halves, which takes batches from the desk and hands on what it makes.</summary>
internal sealed class SlotLoop(
    IConditionEncoder? encoder, IImageDenoiser? denoiser, ConditionCache cache, WorkDesk desk, ResultFinisher finisher, ReportSender reports,
    WorkerTally tally, WorkerOptions options, OtherWorkers others) : IDisposable
{
    public SlotClock Clock { get; } = new(options.Clock);

    /// <summary>The thread's body.</summary>
    public void Run()
    {
        while (desk.NextBatch() is { } batch)
        {
            try
            {
                if (batch.Role == WorkRoles.Mllm)
                {
                    Encode(batch);
                }
                else
                {
                    Denoise(batch);
                }
            }
            finally
            {
                desk.EndBatch(batch);
            }
        }
    }

    public void Dispose()
    {
        (encoder as IDisposable)?.Dispose();
        (denoiser as IDisposable)?.Dispose();
    }

    private void Encode(RunningBatch batch)
    {
        IReadOnlyList<HeldItem> asked = WithPicturesInReach(batch.Rows);
        if (TryDepart(asked) is not { } flights)
        {
            PutOff(asked);
            return;
        }

        batch.Flights = flights;
        for (int i = 0; i < asked.Count; i++)
        {
            if (flights.Found[i] is not null)
            {
                reports.Send(asked[i], new EncodedOutcome(WasMade: false));
            }
        }

        PutOff([.. flights.Elsewhere.Select(flight => asked[flight.Place])]);
        HeldItem[] rows = [.. flights.Places.Select(place => asked[place])];
        if (rows.Length == 0)
        {
            return;
        }

        ConditionRequest[] requests = [.. rows.Select(row => ((EncodeItem)row.Item).Request)];
        if (TryCompute("encode", batch, rows, () => Checked(encoder!.Encode(requests, batch.Progressed, batch.Token), requests.Length)) is not { } made)
        {
            flights.Dispose();
            return;
        }

        if (rows.Any(NeedsPictures))
        {
            desk.PicturesCame();
        }

        tally.Change(counts => counts with { EncoderCalls = counts.EncoderCalls + 1, Conditions = counts.Conditions + rows.Length });
        finisher.Add(rows, flights, made);
    }

    private void Denoise(RunningBatch batch)
    {
        BatchShape shape = ((DenoiseItem)batch.Rows[0].Item).Shape;
        var images = new DenoiseBatch(
            shape.Size.HeightPixels, shape.Size.WidthPixels, shape.NumInferenceSteps, shape.BatchSize,
            [
                .. batch.Rows.Select(row => new DenoiseRow(
                    row.Conditions.Condition, row.Conditions.Negative, ((DenoiseItem)row.Item).Settings.GuidanceScale, ((DenoiseItem)row.Item).Seed)
                {
                    ImageCondition = row.Conditions.Images,
                    ImageGuidanceScale = ((DenoiseItem)row.Item).Settings.ImageGuidanceScale,
                }),
            ])
        {
            ThreeBranches = shape.Branches == 3,
        };
        if (TryCompute("denoise", batch, batch.Rows, () => Checked(denoiser!.Denoise(images, batch.Progressed, batch.Token), batch.Rows.Count, shape.Size)) is not { } pictures)
        {
            return;
        }

        tally.Change(counts => counts with
        {
            DenoiseBatches = counts.DenoiseBatches + 1,
            Images = counts.Images + pictures.Count,
            PaddedRows = counts.PaddedRows + shape.BatchSize - pictures.Count,
        });
        finisher.Add(batch.Rows, pictures);
    }

    /// <summary>Runs a half; what goes wrong is reported for every row.</summary>
    /// <returns>Null where there is no result.</returns>
    private T? TryCompute<T>(string stage, RunningBatch batch, IReadOnlyList<HeldItem> rows, Func<T> compute)
        where T : class
    {
        try
        {
            T result = Clock.Compute(batch, rows.Count, () => tally.Stages.Time(stage, compute));
            desk.Succeed(batch.Role);
            return result;
        }
        catch (OperationCanceledException) when (batch.Cause is CancelCause.AllGone)
        {
            tally.Change(counts => counts with { CancelledBatches = counts.CancelledBatches + 1 });
        }
        catch (OperationCanceledException exception) when (batch.Cause is CancelCause.Stopped || exception is HalfBusyException)
        {
            tally.Change(counts => counts with { CancelledBatches = counts.CancelledBatches + 1 });
            Report(rows, new ReturnedOutcome());
        }
        catch (PictureOutageException)
        {
            MissPictures(rows); // nothing was said of the pictures
        }
#pragma warning disable CA1031 // whatever the model's error is, it is counted against the batch and listed with its reason
        catch (Exception exception)
#pragma warning restore CA1031
        {
            bool isLate = exception is OperationCanceledException && batch.Cause == CancelCause.TimedOut;
            string reason = isLate ? $"the {stage} batch {batch.Lateness}" : Outage.OneLine(exception);
            tally.Change(counts => counts with { FailedBatches = counts.FailedBatches + 1 });
            if (!isLate && desk.Fail(batch.Role, reason) && others.Serve(batch.Role, batch.Token))
            {
                Report([.. rows, .. desk.Rest(batch.Role)], new ReturnedOutcome()); // the others tell whether it is the items' fault
            }
            else
            {
                Report(rows, new FailedOutcome(reason, rows.Count));
            }
        }

        return null;
    }

    /// <summary>Puts off prompts whose pictures cannot be had now; prompts of text alone do not wait for them.</summary>
    private IReadOnlyList<HeldItem> WithPicturesInReach(IReadOnlyList<HeldItem> rows)
    {
        if (options.Pictures is null or { IsReachable: true })
        {
            return rows;
        }

        ILookup<bool, HeldItem> needPictures = rows.ToLookup(NeedsPictures);
        MissPictures([.. needPictures[true]]);
        return [.. needPictures[false]];
    }

    private static bool NeedsPictures(HeldItem row) => ((EncodeItem)row.Item).Request.ImageHashes.Any(name => !BlackPicture.TryParse(name, out _, out _));

    /// <summary>Prompts wait for their pictures for a while; then others may be able to read them.</summary>
    private void MissPictures(IReadOnlyList<HeldItem> rows)
    {
        if (rows.Count == 0)
        {
            return;
        }

        if (desk.MissPictures())
        {
            Report(rows, new ReturnedOutcome());
        }
        else
        {
            PutOff(rows);
        }
    }

    private ConditionFlights? TryDepart(IReadOnlyList<HeldItem> rows)
    {
        try
        {
            return cache.Depart([.. rows.Select(row => (EncodeItem)row.Item).Select(item => new ConditionLookup(item.Key, item.Request, item.KeepOnDisk))]);
        }
        catch (Exception exception) when (Outage.IsOne(exception, options))
        {
            return null;
        }
    }

    private void PutOff(IReadOnlyList<HeldItem> rows)
    {
        foreach (HeldItem row in rows)
        {
            if (!desk.TryPutOff(row))
            {
                reports.Send(row, new ReturnedOutcome());
            }
        }
    }

    private void Report(IReadOnlyList<HeldItem> rows, WorkOutcome outcome)
    {
        foreach (HeldItem row in rows.Where(row => !row.IsGone))
        {
            reports.Send(row, outcome);
        }
    }

    private IReadOnlyList<byte[]> Checked(IReadOnlyList<byte[]> conditions, int count)
    {
        int due = encoder!.Identity.ConditionBytes;
        return conditions.Count == count && conditions.All(condition => condition.Length == due)
            ? conditions
            : throw new InvalidOperationException(
                $"the encoder gave {conditions.Count} conditions for {count} prompts, of {string.Join(", ", conditions.Select(condition => condition.Length).Distinct())} bytes where {due} were due");
    }

    private static IReadOnlyList<RgbImage> Checked(IReadOnlyList<RgbImage> pictures, int count, ImageSize size) =>
        pictures.Count == count && pictures.All(picture => picture.HeightPixels == size.HeightPixels && picture.WidthPixels == size.WidthPixels)
            ? pictures
            : throw new InvalidOperationException(
                $"the denoiser gave {pictures.Count} pictures ({string.Join(", ", pictures.Select(picture => $"{picture.HeightPixels}x{picture.WidthPixels}").Distinct())}) for {count} of {size}");
}
