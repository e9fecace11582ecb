using System.Text.Json;
using MetaQuery.Data;

namespace MetaQuery.Farm;

/// <content>From a job's record to its session.</content>
public sealed partial class FarmHead
{
    /// <summary>Plans a job again and takes its folder. A job that cannot be opened has failed.</summary>
    /// <returns>What may be tried again once the disk has space; null where it is open or failed, or waits for something else.</returns>
    private StorageException? Open(JobRecord record)
    {
        JobSession? session = null;
        JobPlan? plan = null;
        try
        {
            ModelDescription model = record.Lane!.Describe(_model);
            plan = TakePlan(record.Id)?.For(model.Conditions, model.Images)
                ?? JobPlan.Create(
                    SpecOf(record), model.Conditions, model.Images, _stop.Token, KnownPictures(record));
            session = JobSession.Open(plan, _folder.OutPath(record.Id), new SessionOptions
            {
                JobId = record.Id,
                Tenant = record.Tenant,
                Priority = record.Priority,
                Order = record.CreatedAt.UtcTicks,
                TaskTimeout = record.TaskTimeout,
                RetryFailed = record.RetriesFailed,
                ContactSheetImages = record.Kind == JobKind.Request ? 0 : _options.ContactSheetImages,
                HopelessAfter = _options.HopelessAfter,
                Clock = _clock,
            });
            if (record.RetriesFailed)
            {
                Turn(record.Id, JobSignal.WorkersGone, job => job with { RetriesFailed = false });
            }

            _dispatcher.Add(session);
            if (_board.Find(record.Id) is not { IsFinal: false })
            {
                Close(session); // cancelled while it was being opened
            }
        }
        catch (OperationCanceledException) when (_stop.IsCancellationRequested)
        {
            // the next head opens it
        }
        catch (Exception exception) when (exception is StorageException { IsTransient: true } or ModelMismatchException or OutFolderConflictException)
        {
            Release(session); // a full disk may be emptied, and a head may have been started with another model than the job began with
            if (plan is not null)
            {
                KeepPlan(record.Id, plan); // a large one takes its time to be made, and the next look comes soon
            }

            Turn(record.Id, JobSignal.WorkersGone, job => job with { Reason = exception.Message });
            return exception as StorageException;
        }
#pragma warning disable CA1031 // whatever it is, it is this job's end and is told with its reason
        catch (Exception exception)
#pragma warning restore CA1031
        {
            Release(session);
            try
            {
                Turn(record.Id, JobSignal.Failed, job => job with { Reason = exception.Message.ReplaceLineEndings(" ") });
            }
            catch (StorageException refusal) when (refusal.IsTransient)
            {
                return refusal; // it ends when that can be written down
            }
        }

        return null;
    }

    private void Release(JobSession? session)
    {
        if (session is not null)
        {
            _dispatcher.Remove(session);
            session.Dispose();
        }
    }

    private JobSpec SpecOf(JobRecord record)
    {
        ResolvedSettings settings = record.Settings;
        string prompts = Path.Combine(_folder.JobPath(record.Id), record.PromptsFile);
        bool isLiteral = record.PromptsFormat == "literal";
        return new JobSpec
        {
            PromptFile = isLiteral ? null : prompts,
            Prompts = isLiteral ? JsonSerializer.Deserialize<string[]>(File.ReadAllBytes(prompts)) : null,
            OutFolder = _folder.OutPath(record.Id),
            ImagesPerPrompt = settings.ImagesPerPrompt,
            Size = settings.Size,
            NumInferenceSteps = settings.NumInferenceSteps,
            GuidanceScale = settings.GuidanceScale,
            ImageGuidanceScale = settings.ImageGuidanceScale,
            NegativePrompt = settings.NegativePrompt,
            Seed = settings.Seed,
            SamplesPerShard = settings.SamplesPerShard,
            Format = settings.Format,
            Quality = settings.Quality,
            Priority = record.Priority,
            Dtype = record.Dtype,
            BatchSize = settings.BatchSize,
            SkipInvalid = record.SkipInvalid,
        };
    }
}
